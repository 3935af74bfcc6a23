"use strict";
// Lets readers sort and filter the tables. The page works without it; it only moves and hides rows.
(() => {
  const FEW = 5; // tables with fewer rows get no filter
  const text = (cell) => cell.textContent.trim().toLowerCase();

  // A cell's first number, with true minus signs and thousands; null for words such as "not measured".
  const number = (cell) => {
    const first = (cell.firstChild ? cell.firstChild.textContent : "").replaceAll(",", "").replace("−", "-");
    return first.trim() !== "" && Number.isFinite(Number(first)) ? Number(first) : null;
  };

  // Numbers before words, whichever the direction, so that what was not measured stays at the end.
  const compare = (one, other, sign) => {
    const [a, b] = [number(one), number(other)];
    if (a !== null && b !== null) return sign * (a - b);
    if (a !== null || b !== null) return a !== null ? -1 : 1;
    return sign * text(one).localeCompare(text(other));
  };

  const sort = (table, head, place) => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => compare(a.cells[place], b.cells[place], sign)));
  };

  const addSorting = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head, place));
      head.append(button);
    });
  };

  const addFilter = (table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < FEW) return;
    const [label, input, count] = ["label", "input", "output"].map((kind) => document.createElement(kind));
    label.className = "filter";
    input.type = "search";
    label.append(`Filter: ${table.caption ? table.caption.textContent : "rows"} `, input, count);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !text(row).includes(wanted);
      const left = rows.filter((row) => !row.hidden).length;
      count.textContent = wanted ? ` ${left} of ${rows.length} rows` : "";
    });
    table.parentElement.before(label);
  };

  for (const table of document.querySelectorAll(".scroll > table")) {
    if (!table.tHead || !table.tBodies.length || !table.tBodies[0].rows.length) continue;
    addSorting(table);
    addFilter(table);
  }
})();
