"use strict";
// Tables of the class sortable: headers sort, and the filters that name the table filter it.
(() => {
  const { make } = window.mlmatrix;

  function keyOf(cell, numeric) {
    const value = cell.dataset.v ?? cell.textContent.trim();
    if (value === "" || value === "–") return null;
    return numeric ? Number(value) : value;
  }

  function sorter(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const place = new Map([...body.rows].map((row, index) => [row, index]));
    const turn = { ascending: "descending", descending: "none" };

    function sort(head) {
      const order = turn[head.getAttribute("aria-sort")] || "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      const at = heads.indexOf(head);
      const numeric = head.classList.contains("n");
      const sign = order === "descending" ? -1 : 1;
      const keys = new Map([...body.rows].map((row) => [row, keyOf(row.cells[at], numeric)]));
      const sorted = [...body.rows].sort((one, two) => {
        const [a, b] = [keys.get(one), keys.get(two)];
        let result = 0;
        if (order !== "none" && a !== b) {
          // What has no value stands last, whichever way the column runs.
          if (a === null || b === null) return a === null ? 1 : -1;
          result = sign * (numeric ? a - b : a.localeCompare(b));
        }
        return result || place.get(one) - place.get(two);
      });
      body.append(...sorted);
    }

    for (const head of heads) {
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(head));
    }
  }

  function filterer(table, form) {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const search = form.querySelector("input[type=search]");
    const output = form.querySelector("output");
    const selects = [...form.querySelectorAll("select")].map((select) => {
      const at = heads.indexOf(select.name);
      // A badge's symbol is decoration, and no part of its value.
      const value = (row) => {
        const cell = row.cells[at];
        const mark = cell.querySelector("i");
        return (mark ? cell.textContent.replace(mark.textContent, "") : cell.textContent).trim();
      };
      const counts = new Map();
      for (const row of rows) counts.set(value(row), (counts.get(value(row)) || 0) + 1);
      select.append(new Option("all", ""));
      for (const [name, number] of [...counts].sort(([a], [b]) => a.localeCompare(b))) {
        select.append(new Option(`${name} (${number})`, name));
      }
      return [select, value];
    });

    function apply() {
      const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !(
          terms.every((term) => words.get(row).includes(term)) &&
          selects.every(([select, value]) => !select.value || value(row) === select.value)
        );
        if (!row.hidden) shown += 1;
      }
      output.textContent = `${shown} of ${rows.length}`;
    }

    // A filtered table has an address, to be sent to others.
    function remember() {
      if (!form.dataset.for) return;
      const state = new URLSearchParams();
      for (const field of [search, ...selects.map(([select]) => select)]) {
        if (field.value) state.set(field.name, field.value);
      }
      history.replaceState(null, "", `#${state}`);
    }

    function recall() {
      if (!form.dataset.for) return;
      const state = new URLSearchParams(location.hash.slice(1));
      for (const field of [search, ...selects.map(([select]) => select)]) {
        field.value = state.get(field.name) || "";
        if (field.selectedIndex === -1) field.value = "";
      }
      apply();
    }

    for (const field of [search, ...selects.map(([select]) => select)]) {
      field.addEventListener("input", () => {
        apply();
        remember();
      });
    }
    form.querySelector("button").addEventListener("click", () => {
      for (const field of [search, ...selects.map(([select]) => select)]) field.value = "";
      apply();
      remember();
    });
    if (form.dataset.for) window.addEventListener("hashchange", recall);
    form.hidden = false;
    recall();
    apply();
  }

  function enhance(table, form) {
    sorter(table);
    if (form) filterer(table, form);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    enhance(table, document.querySelector(`.filters[data-for="${table.id}"]`));
  }
  window.mlmatrix.enhanceTable = enhance;
})();
