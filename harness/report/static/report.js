"use strict";
(() => {
  const table = document.getElementById("table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const place = new Map(rows.map((row, index) => [row, index]));
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const details = new Map();
  const heads = [...table.tHead.rows[0].cells];
  const requests = JSON.parse(document.getElementById("requests").textContent);
  const text = document.getElementById("filter-text");
  const column = (name) => heads.findIndex((head) => head.textContent.trim() === name);
  const [framework, task] = [column("framework"), column("task")];
  // What a select compares its value with; an outcome is both how a cell was judged and ended.
  const selects = [
    ["framework", (row) => [row.cells[framework].textContent]],
    ["task", (row) => [row.cells[task].textContent]],
    ["outcome", (row) => row.dataset.outcome.split(" ")],
  ].map(([name, values]) => [document.getElementById(`filter-${name}`), values]);

  // What all details share stands in the page once.
  function copy(name, into) {
    if (into) into.append(document.getElementById(name).content.cloneNode(true));
  }

  // A row's details lie in its template until they are asked for.
  function open(row, wanted) {
    const button = row.cells[0].querySelector("button");
    let detail = details.get(row);
    if (wanted && !detail) {
      detail = document.createElement("tr");
      detail.className = "opened";
      detail.id = `detail-${place.get(row)}`;
      const cell = detail.insertCell();
      cell.colSpan = heads.length;
      cell.append(row.querySelector("template").content.cloneNode(true));
      copy("key", cell.querySelector(".curves"));
      copy("request", cell.firstElementChild);
      cell.querySelector(".request").textContent = mlmatrix.indent(requests[row.id]);
      button.setAttribute("aria-controls", detail.id);
      details.set(row, detail);
    }
    if (wanted) row.after(detail);
    else if (detail) detail.remove();
    button.setAttribute("aria-expanded", String(wanted));
  }

  function filter() {
    const terms = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits =
        terms.every((term) => words.get(row).includes(term)) &&
        selects.every(([select, values]) => !select.value || values(row).includes(select.value));
      row.hidden = !fits;
      if (details.has(row)) details.get(row).hidden = !fits;
      if (fits) shown += 1;
    }
    document.getElementById("filter-count").textContent = `${shown} of ${rows.length}`;
  }

  function clear() {
    text.value = "";
    for (const [select] of selects) select.value = "";
    filter();
  }

  function sort(head) {
    const turn = { ascending: "descending", descending: "none" };
    const order = turn[head.getAttribute("aria-sort")] || "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    if (order !== "none") head.setAttribute("aria-sort", order);
    const at = heads.indexOf(head);
    const numeric = head.classList.contains("n");
    const sign = order === "descending" ? -1 : 1;
    const keys = new Map(
      rows.map((row) => {
        const cell = row.cells[at];
        const label = cell.firstElementChild || cell;
        const value = numeric ? cell.dataset.v : label.textContent;
        return [row, value === "" || value === "–" ? null : numeric ? Number(value) : value];
      }),
    );
    const sorted = [...rows].sort((one, two) => {
      const [a, b] = [keys.get(one), keys.get(two)];
      let result = 0;
      if (order !== "none" && a !== b) {
        // What has no value stands last, whichever way the column runs.
        if (a === null || b === null) return a === null ? 1 : -1;
        result = sign * (numeric ? a - b : a.localeCompare(b));
      }
      return result || place.get(one) - place.get(two);
    });
    const moved = document.createDocumentFragment();
    for (const row of sorted) {
      moved.append(row);
      const detail = details.get(row);
      if (detail && detail.isConnected) moved.append(detail);
    }
    body.append(moved);
  }

  function reveal() {
    let id = location.hash.slice(1);
    try {
      id = decodeURIComponent(id);
    } catch {
      return;
    }
    const row = document.getElementById(id);
    if (!place.has(row)) return;
    if (row.hidden) clear();
    open(row, true);
    row.scrollIntoView({ block: "start", inline: "nearest" });
  }

  body.addEventListener("click", (event) => {
    const button = event.target.closest("th > button");
    if (button) open(button.closest("tr"), button.getAttribute("aria-expanded") !== "true");
  });
  for (const row of rows) {
    row.cells[0].querySelector("button").setAttribute("aria-expanded", "false");
  }
  for (const head of heads) head.firstElementChild.addEventListener("click", () => sort(head));
  text.addEventListener("input", filter);
  for (const [select] of selects) select.addEventListener("change", filter);
  document.getElementById("filter-clear").addEventListener("click", clear);
  document.querySelector(".filters").hidden = false;

  document.addEventListener("click", (event) => {
    // The same fragment twice is no hashchange.
    const link = event.target.closest("a");
    if (link && link.hash && link.hash === location.hash) reveal();
  });

  window.addEventListener("hashchange", reveal);
  reveal();
})();
