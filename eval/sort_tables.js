"use strict";
// A click on a column's head sorts the table's body by that column, and once more the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => {
        const cell = row.cells[column];
        return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
      };
      const compare = (a, b) => {
        const x = value(a), y = value(b);
        if (typeof x === "number" && typeof y === "number") return y - x;
        if (typeof x === "number") return -1;
        if (typeof y === "number") return 1;
        return y.localeCompare(x);
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? compare(a, b) : compare(b, a)));
      table.tBodies[0].append(...rows);
    });
  });
}
