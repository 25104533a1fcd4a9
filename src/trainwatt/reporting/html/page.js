"use strict";
(() => {
  const draw = (holder) => {
    const place = document.getElementById(holder.dataset.chart);
    // The page's policy allows no style but its own, and no evaluation of code: page.css has the style of a tooltip.
    const options = {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false,
      tooltip: {disableDefaultStyle: true}};
    return vegaEmbed(place, JSON.parse(holder.textContent), options).then(({view}) => {
      new ResizeObserver(() => view.resize().runAsync()).observe(place);
    });
  };
  const failed = (holder) => (error) => {
    document.getElementById(holder.dataset.chart).textContent = "This chart could not be drawn: " + error.message;
  };
  for (const place of document.querySelectorAll(".chart[data-height]"))
    place.style.minHeight = `${Number(place.dataset.height)}px`;
  const holders = [...document.querySelectorAll("script[data-chart]")];
  Promise.all(holders.map((holder) => draw(holder).catch(failed(holder)))).then(() => {
    document.documentElement.dataset.drawn = "yes";
  });

  const key = (row, column) => {
    const cell = row.cells[column];
    return "order" in cell.dataset ? Number(cell.dataset.order) : cell.textContent;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, {numeric: true});
  };
  const sort = (head) => {
    const table = head.closest("table"), body = table.tBodies[0];
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const empty = (row) => (row.cells[head.cellIndex].textContent ? 0 : 1);
    const rows = [...body.rows].sort(
      (a, b) => empty(a) - empty(b) || (rising ? 1 : -1) * compare(key(a, head.cellIndex), key(b, head.cellIndex)));
    body.append(...rows);
  };
  for (const button of document.querySelectorAll("table[data-sortable] th button"))
    button.addEventListener("click", () => sort(button.closest("th")));

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.print:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
})();
