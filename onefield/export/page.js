"use strict";
// What is shown is a "content": {center, radius, front, looks, draw(view, projection, look)}, made from the bytes in the
// page by the entry of CONTENTS that their media type names. z is up; the front is a direction, near 0 where there is none.
const CONTENTS = {};

const FIELD_OF_VIEW = 35 * Math.PI / 180;
const HIGHEST = Math.PI / 2 - 0.01;  // at the pole itself "up" has no direction
const START = {azimuth: 0.6, elevation: 0.35};
const LEAST_FRONT = 0.1;  // shorter ones are those of nearly closed surfaces

class OrbitCamera {
  constructor(content) {
    this.content = content;
    this.reset();
  }

  reset() {
    const [x, y, z] = this.content.front, length = Math.hypot(x, y, z);
    Object.assign(this, length < LEAST_FRONT ? START :
      {azimuth: Math.atan2(y, x), elevation: Math.asin(z / length) * HIGHEST / (Math.PI / 2)});
    this.target = [...this.content.center];
    this.distance = this.content.radius / Math.sin(FIELD_OF_VIEW / 2);
  }

  turn(azimuth, elevation) {
    this.azimuth -= azimuth;
    this.elevation = Math.min(HIGHEST, Math.max(-HIGHEST, this.elevation + elevation));
  }

  zoom(factor) {
    const radius = this.content.radius;
    this.distance = Math.min(40 * radius, Math.max(0.02 * radius, this.distance * factor));
  }

  // x and y in heights of the window
  move(x, y) {
    const {right, up} = this.axes();
    const size = 2 * this.distance * Math.tan(FIELD_OF_VIEW / 2);
    for (let i = 0; i < 3; i++) this.target[i] += size * (up[i] * y - right[i] * x);
  }

  axes() {
    const [ca, sa, ce, se] = [Math.cos(this.azimuth), Math.sin(this.azimuth),
      Math.cos(this.elevation), Math.sin(this.elevation)];
    return {right: [-sa, ca, 0], up: [-se * ca, -se * sa, ce], back: [ce * ca, ce * sa, se]};
  }

  view() {
    const {right, up, back} = this.axes();
    const eye = this.target.map((value, i) => value + this.distance * back[i]);
    const along = axis => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    return new Float32Array([right[0], up[0], back[0], 0, right[1], up[1], back[1], 0,
      right[2], up[2], back[2], 0, along(right), along(up), along(back), 1]);
  }

  projection(aspect) {
    // the shorter side of the window holds the field of view
    const scale = 1 / Math.tan(FIELD_OF_VIEW / 2);
    const [x, y] = aspect > 1 ? [scale / aspect, scale] : [scale, scale * aspect];
    const away = Math.hypot(...this.target.map((value, i) => value - this.content.center[i]));
    const far = this.distance + away + 1.1 * this.content.radius;
    const near = Math.max(this.distance - away - 1.1 * this.content.radius, far / 2000);
    return new Float32Array([x, 0, 0, 0, 0, y, 0, 0, 0, 0, (far + near) / (near - far), -1,
      0, 0, 2 * far * near / (near - far), 0]);
  }
}

function steer(canvas, camera, redraw) {
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return {x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, size: Math.hypot(a.x - b.x, a.y - b.y) || 1};
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, {x: event.clientX, y: event.clientY});
  });
  canvas.addEventListener("pointermove", event => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const height = canvas.clientHeight || 1;
    const [dx, dy] = [(event.clientX - before.x) / height, (event.clientY - before.y) / height];
    const old = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, {x: event.clientX, y: event.clientY});
    if (old) {
      const now = spread();
      camera.zoom(old.size / now.size);
      camera.move((now.x - old.x) / height, (now.y - old.y) / height);
    } else if (event.buttons & 6 || event.shiftKey) camera.move(dx, dy);
    else camera.turn(4 * dx, 4 * dy);
    redraw();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, event => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    camera.zoom(Math.exp(Math.max(-240, Math.min(240, pixels)) / 600));
    redraw();
  }, {passive: false});
  const keys = {ArrowLeft: () => camera.turn(-0.1, 0), ArrowRight: () => camera.turn(0.1, 0),
    ArrowUp: () => camera.turn(0, 0.1), ArrowDown: () => camera.turn(0, -0.1),
    "+": () => camera.zoom(0.9), "=": () => camera.zoom(0.9), "-": () => camera.zoom(1.1), "0": () => camera.reset()};
  canvas.addEventListener("keydown", event => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
}

function compileProgram(gl, vertexSource, fragmentSource) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(gl.getProgramInfoLog(program));
  }
  return program;
}

function contentBytes(element) {
  const text = atob(element.textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

function showContent() {
  const [canvas, message, controls, look] = ["view", "message", "controls", "look"].map(
    name => document.getElementById(name));
  const element = document.getElementById("content");
  const gl = canvas.getContext("webgl2", {antialias: true});
  if (!gl) {
    message.textContent = "This browser offers no WebGL 2, which draws the model; try another one.";
    return;
  }
  const bytes = contentBytes(element);
  let content = CONTENTS[element.type](gl, bytes);
  const camera = new OrbitCamera(content);
  look.replaceChildren(...content.looks.map(name => new Option(name)));
  let waiting = false;
  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };
  const draw = () => {
    waiting = false;
    if (gl.isContextLost()) return;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    content.draw(camera.view(), camera.projection(canvas.width / canvas.height), look.value);
  };
  steer(canvas, camera, redraw);
  look.addEventListener("change", redraw);
  controls.addEventListener("reset", () => {
    const chosen = look.value;
    camera.reset();
    queueMicrotask(() => { look.value = chosen; redraw(); });
  });
  controls.addEventListener("submit", event => event.preventDefault());
  canvas.addEventListener("webglcontextlost", event => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    content = CONTENTS[element.type](gl, bytes);
    redraw();
  });
  new ResizeObserver(redraw).observe(canvas);
  message.hidden = true;
  controls.hidden = false;
  redraw();
}
