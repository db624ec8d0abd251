// Shows data-tip of what the pointer or the keyboard is on; without scripts the page lacks nothing else.
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);

function show(event) {
  const marked = event.target.closest("[data-tip]");
  tip.hidden = !marked;
  if (!marked) return;
  tip.textContent = marked.dataset.tip;
  const box = marked.getBoundingClientRect();
  const x = event.clientX ?? box.right, y = event.clientY ?? box.top;
  const right = x + 14 + tip.offsetWidth > innerWidth, low = y + 14 + tip.offsetHeight > innerHeight;
  tip.style.left = (right ? x - 14 - tip.offsetWidth : x + 14) + "px";
  tip.style.top = (low ? y - 14 - tip.offsetHeight : y + 14) + "px";
}
document.addEventListener("pointermove", show);
document.addEventListener("focusin", show);
document.addEventListener("focusout", () => { tip.hidden = true; });
