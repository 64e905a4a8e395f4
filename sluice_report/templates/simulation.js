// Pointing at a chart shows its interval: the numbers and the decisions from the section's data.
for (const play of document.querySelectorAll(".play")) {
  const { columns, rows, decisions, more } = JSON.parse(play.querySelector(".data").textContent);
  const positions = rows.map((_, index) => index), withEvents = [...new Set(decisions.map(([interval]) => interval))];
  const byInterval = Map.groupBy ? Map.groupBy(decisions, ([interval]) => interval) : decisions.reduce(
    (found, one) => found.set(one[0], [...(found.get(one[0]) ?? []), one]), new Map());
  const maxShown = 4;

  const toLine = ([, when, who, text]) => {
    const line = make("p", ""), what = make("span", `${text} `);
    what.append(make("span", `${when}, ${who}`));
    what.lastChild.className = "who";
    line.append(what);
    return line;
  };
  const describe = (interval) => {
    const [time, ...values] = rows[interval], own = byInterval.get(interval) ?? [];
    const left = own.length - maxShown + (more[interval] ?? 0);
    const lines = own.slice(0, maxShown).map(toLine);
    if (own.length && left > 0) lines.push(make("p", `and ${left} more in this time`));
    return [make("b", time), numbers(columns, values), ...lines];
  };
  for (const chart of play.querySelectorAll(".chart")) follow(chart, { positions, withEvents, describe, onLeave: () => {} });

  // The long lists are built when they are first opened.
  const opened = (name, fill) => {
    const details = play.querySelector(`details.${name}`);
    details?.addEventListener("toggle", () => details.open && !details.dataset.made && (details.dataset.made = "yes") && fill(details));
  };
  opened("decisions", (details) => {
    for (const [, when, who, text] of decisions) {
      const item = make("li", ""), words = make("div", "");
      words.append(make("span", when), " ", make("span", who), make("div", text));
      words.children[0].className = "when";
      words.children[1].className = "who";
      item.append(words);
      details.querySelector("ol").append(item);
    }
  });
  opened("numbers", (details) => {
    const table = details.querySelector("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const name of ["time", ...columns]) head.append(Object.assign(make("th", name), { scope: "col" }));
    for (const [time, ...values] of rows) {
      const row = body.insertRow();
      row.append(Object.assign(make("th", time), { scope: "row" }), ...values.map((value) => make("td", value)));
    }
  });
}
