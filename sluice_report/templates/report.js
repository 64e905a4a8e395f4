// Pointing at a chart shows its minute: the numbers from the table of minutes, what happened from the chronicle.
for (const play of document.querySelectorAll(".play")) {
  const names = [...play.querySelectorAll(".minutes thead th")].map((cell) => cell.textContent);
  const rows = [...play.querySelectorAll(".minutes tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent));
  const items = [...play.querySelectorAll(".chronicle li")];
  const make = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  const nearest = (values, wanted) => values.reduce((best, value) => Math.abs(value - wanted) < Math.abs(best - wanted) ? value : best);

  for (const chart of play.querySelectorAll(".chart")) {
    const [left, right, first, last] = ["left", "right", "first", "last"].map((key) => Number(chart.dataset[key]));
    const line = chart.querySelector(".line"), tip = chart.querySelector(".tip");
    const minutes = rows.map((row) => Number(row[0])), happened = items.map((item) => Number(item.dataset.minute));
    const place = (minute) => left + (minute - first + 0.5) / (last - first + 1) * (right - left);
    let shown = first;

    const hide = () => {
      line.hidden = tip.hidden = true;
      items.forEach((item) => item.classList.remove("now"));
    };
    const show = (minute) => {
      shown = nearest(minutes, minute);
      const row = rows[minutes.indexOf(shown)], list = document.createElement("dl");
      names.slice(1).forEach((name, index) => list.append(make("dt", name), make("dd", row[index + 1])));
      tip.replaceChildren(make("b", `minute ${shown}`), list);
      for (const item of items) {
        const now = Number(item.dataset.minute) === shown;
        item.classList.toggle("now", now);
        if (!now) continue;
        const told = make("p", "");
        told.append(item.querySelector("i").cloneNode(true), make("span", item.querySelector(".what").textContent));
        tip.append(told);
      }
      line.hidden = tip.hidden = false;
      const at = place(shown) * chart.clientWidth, width = tip.offsetWidth;
      line.style.left = `${at}px`;
      const beside = at + 12 + width <= chart.clientWidth ? at + 12 : at - 12 - width;
      tip.style.left = `${Math.max(0, Math.min(beside, chart.clientWidth - width))}px`;
    };
    const point = (event) => {
      const box = chart.getBoundingClientRect(), perMinute = (right - left) * box.width / (last - first + 1);
      const minute = first - 0.5 + ((event.clientX - box.left) / box.width - left) * box.width / perMinute;
      const mark = happened.length ? nearest(happened, minute) : minute;
      show(Math.abs(mark - minute) * perMinute <= 9 ? mark : minute);
      tip.style.top = `${Math.max(0, Math.min(event.clientY - box.top + 16, box.height - tip.offsetHeight))}px`;
    };
    chart.addEventListener("pointermove", point);
    chart.addEventListener("pointerdown", point);
    chart.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show(line.hidden ? shown : minutes[minutes.indexOf(shown) + step] ?? shown);
    });
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
