// Pointing at a chart shows its minute: the numbers from the table of minutes, what happened from the chronicle.
for (const play of document.querySelectorAll(".play")) {
  const names = [...play.querySelectorAll(".minutes thead th")].map((cell) => cell.textContent);
  const rows = [...play.querySelectorAll(".minutes tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
  const items = [...play.querySelectorAll(".chronicle li")];
  const at = rows.map((row) => Number(row[0])), happened = items.map((item) => Number(item.dataset.minute));

  const tell = (shown) => {
    const told = [make("b", `minute ${shown}`), numbers(names.slice(1), rows[at.indexOf(shown)].slice(1))];
    for (const item of items) {
      const now = Number(item.dataset.minute) === shown;
      item.classList.toggle("now", now);
      if (!now) continue;
      told.push(make("p", ""));
      told.at(-1).append(item.querySelector("i").cloneNode(true), make("span", item.querySelector(".what").textContent));
    }
    return told;
  };
  const leave = () => items.forEach((item) => item.classList.remove("now"));

  for (const chart of play.querySelectorAll(".chart")) {
    const { show, hide, tip } = follow(chart, { at, happened, tell, leave });
    for (const item of items) {
      item.addEventListener("pointerenter", (event) => {
        if (event.pointerType !== "mouse" || !chart.clientWidth) return;
        show(Number(item.dataset.minute));
        tip.hidden = true;
      });
      item.addEventListener("pointerleave", hide);
    }
  }
}
