// Pointing at a chart shows its minute: the numbers from the table of minutes, the events from the list of events.
for (const play of document.querySelectorAll(".play")) {
  const names = [...play.querySelectorAll(".minutes thead th")].map((cell) => cell.textContent);
  const rows = [...play.querySelectorAll(".minutes tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
  const items = [...play.querySelectorAll(".events li")];
  const positions = rows.map((row) => Number(row[0])), withEvents = items.map((item) => Number(item.dataset.minute));

  const describe = (shown) => {
    const content = [make("b", `minute ${shown}`), numbers(names.slice(1), rows[positions.indexOf(shown)].slice(1))];
    for (const item of items) {
      const now = Number(item.dataset.minute) === shown;
      item.classList.toggle("now", now);
      if (!now) continue;
      content.push(make("p", ""));
      content.at(-1).append(item.querySelector("i").cloneNode(true), make("span", item.querySelector(".what").textContent));
    }
    return content;
  };
  const onLeave = () => items.forEach((item) => item.classList.remove("now"));

  for (const chart of play.querySelectorAll(".chart")) {
    const { show, hide, tip } = follow(chart, { positions, withEvents, describe, onLeave });
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
