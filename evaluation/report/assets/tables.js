// Tables that sort by a click on a column's head. Missing values stay last in both directions;
// equal rows keep their order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const text = new Intl.Collator("en", { numeric: true });
    const key = row => {
      const cell = row.cells[column], sort = cell.dataset.sort;
      if (sort === undefined) return cell.textContent;
      return sort === "" ? null : sort === "inf" ? Infinity : sort === "-inf" ? -Infinity : +sort;
    };
    const order = (a, b) => a === null || b === null ? (a === null) - (b === null)
      : (down ? -1 : 1) * (typeof a === "string" ? text.compare(a, b) : a < b ? -1 : +(a > b));
    body.append(...[...body.rows].sort((r, s) => order(key(r), key(s))));
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }));
}
