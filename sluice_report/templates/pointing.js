// Pointing at a chart: a line and a tooltip follow the mouse, the finger and the arrow keys.
const make = (name, text) => Object.assign(document.createElement(name), { textContent: text });
const nearest = (values, wanted) => values.reduce((best, value) => Math.abs(value - wanted) < Math.abs(best - wanted) ? value : best);

// `positions` are those of the time axis, each 1 wide, from `first` to `last`; a position with an event (`withEvents`)
// is preferred where it is close. `describe` returns the tooltip's content, `onLeave` is called when pointing ends.
function follow(chart, { positions, withEvents, describe, onLeave }) {
  const [left, right, first, last] = ["left", "right", "first", "last"].map((key) => Number(chart.dataset[key]));
  const line = chart.querySelector(".line"), tip = chart.querySelector(".tip");
  const place = (wanted) => left + (wanted - first + 0.5) / (last - first + 1) * (right - left);
  let shown = positions[0];

  const hide = () => {
    line.hidden = tip.hidden = true;
    onLeave();
  };
  const show = (wanted) => {
    shown = nearest(positions, wanted);
    tip.replaceChildren(...describe(shown));
    line.hidden = tip.hidden = false;
    const x = place(shown) * chart.clientWidth, width = tip.offsetWidth;
    line.style.left = `${x}px`;
    const beside = x + 12 + width <= chart.clientWidth ? x + 12 : x - 12 - width;
    tip.style.left = `${Math.max(0, Math.min(beside, chart.clientWidth - width))}px`;
  };
  const point = (event) => {
    const box = chart.getBoundingClientRect(), each = (right - left) * box.width / (last - first + 1);
    const wanted = first - 0.5 + ((event.clientX - box.left) / box.width - left) * box.width / each;
    const closest = withEvents.length ? nearest(withEvents, wanted) : wanted;
    show(Math.abs(closest - wanted) * each <= 9 ? closest : wanted);
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
    show(line.hidden ? shown : positions[positions.indexOf(shown) + step] ?? shown);
  });
  return { show, hide, tip };
}

const numbers = (names, values) => {
  const list = document.createElement("dl");
  names.forEach((name, index) => list.append(make("dt", name), make("dd", values[index])));
  return list;
};
