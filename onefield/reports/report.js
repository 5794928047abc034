"use strict";
document.documentElement.classList.add("scripted");
for (const figure of document.querySelectorAll(".slider")) {
  const input = figure.querySelector("input");
  const cut = () => figure.style.setProperty("--cut", `${input.value}%`);
  input.addEventListener("input", cut);
  cut();
}
