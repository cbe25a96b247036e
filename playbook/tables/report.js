"use strict";
// The break-even, live: the formula of economics.break_even, moved by two sliders. Reads numbers, writes text.
// The page can be read whole without it; it asks for nothing from outside.
for (const block of document.querySelectorAll(".live")) {
  const given = { cost_per_base: 0, hosting_per_month: 0, premium: 0, prompt_tokens: 0, ...JSON.parse(block.dataset.case) };
  const months = Number(block.dataset.months), currency = block.dataset.currency;
  const part = (name) => block.querySelector(`[data-part="${name}"]`);
  const shown = (number, digits) => number.toLocaleString("en-US", { maximumFractionDigits: digits });
  const money = (amount) => `${shown(amount, Math.abs(amount) < 100 ? 2 : 0)} ${currency}`;

  const update = () => {
    const now = { ...given };
    for (const slider of block.querySelectorAll("input")) {
      now[slider.name] = given[slider.name] * 10 ** slider.value;
      part(slider.name).textContent = shown(now[slider.name], now[slider.name] < 100 ? 2 : 0);
      slider.setAttribute("aria-valuetext", part(slider.name).textContent);
    }
    const saved = now.tokens_saved - now.premium * (now.prompt_tokens - now.tokens_saved);
    const saving = (saved * now.calls_per_month * now.price_per_million) / 1e6;
    const upkeep = now.cost_per_base / now.cadence_months + now.hosting_per_month;
    const net = saving - upkeep, payback = now.upfront / net;
    part("said").textContent =
      `Training saves ${money(saving)} of tokens a month and costs ${money(upkeep)} a month to keep up: ` +
      (net > 0 ? `it has paid back after ${shown(payback, 1)} months` : "it never pays back") +
      (net > 0 && payback > now.cadence_months ? `, after the next base model (${now.cadence_months} months).` : ".");
    // the chart: money won or lost after each month, zero line, next base model
    const ends = [-now.upfront, months * net - now.upfront], low = Math.min(...ends, 0), high = Math.max(...ends, 0);
    const x = (month) => 10 + (month / months) * 520, y = (amount) => 190 - ((amount - low) / (high - low)) * 170;
    part("money").setAttribute("d", `M${x(0)} ${y(ends[0])}L${x(months)} ${y(ends[1])}`);
    part("zero").setAttribute("d", `M${x(0)} ${y(0)}H${x(months)}`);
    part("base").setAttribute("d", `M${x(now.cadence_months)} 20V190`);
    part("end").setAttribute("y", y(ends[1]) + 4);
    part("end").textContent = money(ends[1]);
  };

  block.addEventListener("input", update);
  update();
  block.hidden = false;
}
