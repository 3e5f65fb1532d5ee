// Shows the words of a story one after the other, a number of them in a second. `steps` are their
// elements in the order in which they were written; `changed` is called with the player whenever what a
// person sees of it has changed.
function player(steps, perSecond, changed) {
  let shown = steps.length, playing = false, speed = 1, last = 0;

  function show(count) {
    shown = Math.max(0, Math.min(steps.length, count));
    steps.forEach((step, n) => { step.style.visibility = n < Math.floor(shown) ? "visible" : "hidden"; });
    changed(self);
  }
  function tick(now) {
    if (!playing) return;
    const before = shown;
    shown += Math.min(now - last, 250) / 1000 * perSecond * speed;
    last = now;
    if (Math.floor(shown) !== Math.floor(before)) show(shown);
    if (shown >= steps.length) { playing = false; show(steps.length); return; }
    requestAnimationFrame(tick);
  }
  const self = {
    get playing() { return playing; },
    get speed() { return speed; },
    get done() { return shown >= steps.length; },
    draw() { changed(self); },
    toggle() {
      playing = !playing;
      if (playing && shown >= steps.length) shown = 0;
      show(shown);
      if (playing) { last = performance.now(); requestAnimationFrame(tick); }
    },
    faster() { speed = speed >= 4 ? 0.5 : speed * 2; changed(self); },
  };
  return self;
}
