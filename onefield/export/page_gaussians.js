// Gaussians as .splat stores them, 32 bytes each, drawn far to near as ellipses (EWA splatting with 0.3 pixels^2 added).
const MIDDLES_ACROSS = 1024;  // Gaussians in a row of the texture that holds them
const REACH = 3.33;  // standard deviations beyond which less than 1/255 is left
const LOW_PASS = 0.3;
const HELD = 1.3;  // edges of the picture beyond which projections stay as they are there
const DEPTHS = 1 << 16;  // depths that the order tells apart

const GAUSSIAN_VERTEX = `#version 300 es
precision highp float;
precision highp sampler2D;
in vec2 corner;
in uint index;
uniform mat4 view;
uniform vec2 focal, window;
uniform sampler2D shapes, paints;
out vec2 place;
out vec4 paint;
void main() {
  ivec2 slot = ivec2(3 * (int(index) % ${MIDDLES_ACROSS}), int(index) / ${MIDDLES_ACROSS});
  vec3 middle = texelFetch(shapes, slot, 0).xyz;
  vec3 first = texelFetch(shapes, slot + ivec2(1, 0), 0).xyz;
  vec3 second = texelFetch(shapes, slot + ivec2(2, 0), 0).xyz;
  vec4 local = view * vec4(middle, 1.0);
  float depth = -local.z;
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  if (depth <= 0.0) return;
  mat3 turn = mat3(view);
  mat3 spread = turn * mat3(first, vec3(first.y, second.xy), vec3(first.z, second.yz)) * transpose(turn);
  vec2 edge = ${HELD} * 0.5 * window / focal;
  vec2 held = clamp(local.xy / depth, -edge, edge);
  vec3 right = focal.x / depth * vec3(1.0, 0.0, held.x), up = focal.y / depth * vec3(0.0, 1.0, held.y);
  float xx = dot(right, spread * right) + ${LOW_PASS}, yy = dot(up, spread * up) + ${LOW_PASS};
  float xy = dot(right, spread * up);
  float mean = 0.5 * (xx + yy), apart = length(vec2(0.5 * (xx - yy), xy));
  float least = max(mean - apart, 0.1);
  vec2 axis = xx >= yy ? vec2(mean + apart - yy, xy) : vec2(xy, mean + apart - xx);
  axis = apart > 1e-6 ? normalize(axis) : vec2(1.0, 0.0);
  vec2 offset = corner.x * sqrt(mean + apart) * axis + corner.y * sqrt(least) * vec2(-axis.y, axis.x);
  place = ${REACH} * corner;
  paint = texelFetch(paints, ivec2(slot.x / 3, slot.y), 0);
  vec2 pixel = focal * local.xy / depth + ${REACH} * offset;
  gl_Position = vec4(2.0 * pixel / window, 0.0, 1.0);
}`;

const GAUSSIAN_FRAGMENT = `#version 300 es
precision highp float;
in vec2 place;
in vec4 paint;
out vec4 pixel;
void main() {
  float alpha = min(0.99, paint.a * exp(-0.5 * dot(place, place)));
  if (alpha < 1.0 / 255.0) discard;
  pixel = vec4(paint.rgb * alpha, alpha);
}`;

// Middle, then the six numbers of the covariance, of each: three texels.
function gaussianShapes(buffer, count, rows) {
  const floats = new Float32Array(buffer), bytes = new Uint8Array(buffer);
  const shapes = new Float32Array(rows * MIDDLES_ACROSS * 12);
  for (let g = 0; g < count; g++) {
    const [sx, sy, sz] = floats.subarray(8 * g + 3, 8 * g + 6);
    const [w, x, y, z] = [0, 1, 2, 3].map(i => (bytes[32 * g + 28 + i] - 128) / 128);
    const norm = w * w + x * x + y * y + z * z || 1, t = 2 / norm;
    const axes = [[sx * (1 - t * (y * y + z * z)), sx * t * (x * y + w * z), sx * t * (x * z - w * y)],
      [sy * t * (x * y - w * z), sy * (1 - t * (x * x + z * z)), sy * t * (y * z + w * x)],
      [sz * t * (x * z + w * y), sz * t * (y * z - w * x), sz * (1 - t * (x * x + y * y))]];
    const spread = (i, j) => axes.reduce((sum, axis) => sum + axis[i] * axis[j], 0);
    shapes.set(floats.subarray(8 * g, 8 * g + 3), 12 * g);
    shapes.set([spread(0, 0), spread(0, 1), spread(0, 2)], 12 * g + 4);
    shapes.set([spread(1, 1), spread(1, 2), spread(2, 2)], 12 * g + 8);
  }
  return shapes;
}

// The middle of most Gaussians, and how far nine tenths of them lie from it: what floats far away does not count.
function gaussianSphere(floats, count) {
  const middle = values => values.sort()[Math.floor(values.length / 2)];
  const along = i => Float32Array.from({length: count}, (_, g) => floats[8 * g + i]);
  const center = [0, 1, 2].map(i => middle(along(i)));
  const away = Float32Array.from({length: count}, (_, g) => Math.hypot(...center.map((c, i) => floats[8 * g + i] - c)));
  return {center, radius: away.sort()[Math.floor(0.9 * (count - 1))] || 1};
}

// Far to near along the view, by counting.
function gaussianOrder(floats, count, view, order) {
  const [x, y, z] = [view[2], view[6], view[10]];
  const depths = new Float32Array(count);
  let low = Infinity, high = -Infinity;
  for (let g = 0; g < count; g++) {
    const depth = depths[g] = x * floats[8 * g] + y * floats[8 * g + 1] + z * floats[8 * g + 2];
    low = Math.min(low, depth);
    high = Math.max(high, depth);
  }
  const scale = (DEPTHS - 1) / (high - low || 1), starts = new Uint32Array(DEPTHS + 1);
  for (let g = 0; g < count; g++) starts[1 + Math.floor((depths[g] - low) * scale)]++;
  for (let i = 0; i < DEPTHS; i++) starts[i + 1] += starts[i];
  for (let g = 0; g < count; g++) order[starts[Math.floor((depths[g] - low) * scale)]++] = g;
}

CONTENTS["application/x-gaussian-splat"] = (gl, buffer) => {
  const count = buffer.byteLength / 32, rows = Math.ceil(count / MIDDLES_ACROSS);
  const floats = new Float32Array(buffer), bytes = new Uint8Array(buffer);
  const program = compileProgram(gl, GAUSSIAN_VERTEX, GAUSSIAN_FRAGMENT);
  const paints = new Uint8Array(rows * MIDDLES_ACROSS * 4);
  for (let g = 0; g < count; g++) paints.set(bytes.subarray(32 * g + 24, 32 * g + 28), 4 * g);
  const texture = (unit, inside, width, kind, data) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, inside, width, rows, 0, gl.RGBA, kind, data);
  };
  texture(0, gl.RGBA32F, 3 * MIDDLES_ACROSS, gl.FLOAT, gaussianShapes(buffer, count, rows));
  texture(1, gl.RGBA8, MIDDLES_ACROSS, gl.UNSIGNED_BYTE, paints);
  gl.bindVertexArray(gl.createVertexArray());
  const attribute = name => {
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.enableVertexAttribArray(place);
    return place;
  };
  gl.vertexAttribPointer(attribute("corner"), 2, gl.FLOAT, false, 0, 0);
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
  const index = attribute("index");
  gl.vertexAttribIPointer(index, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(index, 1);
  gl.disable(gl.DEPTH_TEST);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  const place = name => gl.getUniformLocation(program, name);
  const order = new Uint32Array(count);
  return {...gaussianSphere(floats, count), front: [0, 0, 0], looks: ["colours"], draw(view, projection) {
    const [width, height] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    gaussianOrder(floats, count, view, order);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    gl.useProgram(program);
    gl.uniformMatrix4fv(place("view"), false, view);
    gl.uniform2f(place("focal"), projection[0] * width / 2, projection[5] * height / 2);
    gl.uniform2f(place("window"), width, height);
    gl.uniform1i(place("shapes"), 0);
    gl.uniform1i(place("paints"), 1);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  }};
};
