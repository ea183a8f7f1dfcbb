"use strict";
// Tables of the class "sorting": a header's button sorts up, down, and back to the first order.
(() => {
  const turn = { ascending: "descending", descending: "none" };

  function value(row, at, numeric) {
    const cell = row.cells[at];
    if (!numeric) return cell.textContent.trim();
    return cell.dataset.v === "" || cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  }

  function compare(one, two, sign) {
    // What has no value stands last in both directions.
    if (one === null || two === null) return (one === null) - (two === null);
    return sign * (typeof one === "string" ? one.localeCompare(two) : one - two);
  }

  for (const table of document.querySelectorAll("table.sorting")) {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("button")?.closest("th");
      if (!head) return;
      const order = turn[head.getAttribute("aria-sort")] || "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      const at = heads.indexOf(head);
      const numeric = head.classList.contains("n");
      const sign = order === "descending" ? -1 : 1;
      const keys = new Map(first.map((row) => [row, value(row, at, numeric)]));
      const rows = order === "none" ? first : first.toSorted((a, b) => compare(keys.get(a), keys.get(b), sign));
      body.append(...rows);
    });
  }
})();
