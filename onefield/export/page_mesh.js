// Triangles out of a GLB as Onefield writes it: one mesh, 32-bit indices, linear 16-bit colours, z up below the nodes.
const CLAY = [0.75, 0.73, 0.7];

const MESH_VERTEX = `#version 300 es
in vec3 position, normal;
in vec4 color;
uniform mat4 view, projection;
out vec3 seen, facing;
out vec4 paint;
void main() {
  vec4 local = view * vec4(position, 1.0);
  seen = local.xyz;
  facing = mat3(view) * normal;
  paint = color;
  gl_Position = projection * local;
}`;

const MESH_FRAGMENT = `#version 300 es
precision highp float;
in vec3 seen, facing;
in vec4 paint;
uniform int look;
uniform vec3 clay;
out vec4 pixel;
vec3 srgb(vec3 linear) {
  return mix(12.92 * linear, 1.055 * pow(max(linear, 0.0), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, linear));
}
void main() {
  // the light stands at the eye
  float light = 0.35 + 0.65 * abs(dot(normalize(facing), normalize(seen)));
  vec3 color = look == 2 ? clay : srgb(paint.rgb);
  pixel = vec4(look == 1 ? color : color * light, 1.0);
}`;

function readGlb(buffer) {
  const header = new DataView(buffer);
  const size = header.getUint32(12, true);
  const tree = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, size)));
  const start = 28 + size;  // header, head and body of the first chunk, head of the second
  const arrays = {5126: Float32Array, 5125: Uint32Array};
  const widths = {SCALAR: 1, VEC3: 3};
  const array = number => {
    if (number === undefined) return null;
    const accessor = tree.accessors[number];
    const offset = start + tree.bufferViews[accessor.bufferView].byteOffset;
    return new arrays[accessor.componentType](buffer, offset, accessor.count * widths[accessor.type]);
  };
  const {attributes, indices} = tree.meshes[0].primitives[0];
  return {positions: array(attributes.POSITION), normals: array(attributes.NORMAL),
    colors: array(attributes.COLOR_0), indices: array(indices)};
}

// Sums of the faces' normals times twice their area; the shader brings them to unit length.
function vertexNormals(positions, indices) {
  const normals = new Float32Array(positions.length);
  for (let f = 0; f < indices.length; f += 3) {
    const [a, b, c] = [3 * indices[f], 3 * indices[f + 1], 3 * indices[f + 2]];
    const [ux, uy, uz] = [0, 1, 2].map(i => positions[b + i] - positions[a + i]);
    const [vx, vy, vz] = [0, 1, 2].map(i => positions[c + i] - positions[a + i]);
    const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (const corner of [a, b, c]) {
      normals[corner] += nx;
      normals[corner + 1] += ny;
      normals[corner + 2] += nz;
    }
  }
  // tiny areas must not vanish on their way through the rasteriser
  for (let i = 0; i < normals.length; i += 3) {
    const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
    for (let j = i; j < i + 3; j++) normals[j] /= length;
  }
  return normals;
}

// Mean of the normals by area: 0 where the surface is closed, else what its outside looks towards, as photographers stood.
function openSide(positions, indices) {
  const sum = [0, 0, 0];
  let area = 0;
  for (let f = 0; f < indices.length; f += 3) {
    const [a, b, c] = [3 * indices[f], 3 * indices[f + 1], 3 * indices[f + 2]];
    const [ux, uy, uz] = [0, 1, 2].map(i => positions[b + i] - positions[a + i]);
    const [vx, vy, vz] = [0, 1, 2].map(i => positions[c + i] - positions[a + i]);
    const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    area += Math.hypot(...normal);
    for (let i = 0; i < 3; i++) sum[i] += normal[i];
  }
  return sum.map(value => area > 0 ? value / area : 0);
}

// About the middle of the box around what the faces use.
function boundingSphere(positions, indices) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const index of indices) {
    for (let i = 0; i < 3; i++) {
      const value = positions[3 * index + i];
      if (value < low[i]) low[i] = value;
      if (value > high[i]) high[i] = value;
    }
  }
  const center = low.map((value, i) => (value + high[i]) / 2);
  let square = 0;
  for (const index of indices) {
    const [x, y, z] = center.map((value, i) => positions[3 * index + i] - value);
    square = Math.max(square, x * x + y * y + z * z);
  }
  return {center, radius: Math.sqrt(square) || 1};
}

CONTENTS["model/gltf-binary"] = (gl, buffer) => {
  const {positions, normals, colors, indices} = readGlb(buffer);
  const {center, radius} = boundingSphere(positions, indices);
  const program = compileProgram(gl, MESH_VERTEX, MESH_FRAGMENT);
  gl.bindVertexArray(gl.createVertexArray());
  const attribute = (name, data, width, kind) => {
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, kind, kind !== gl.FLOAT, 0, 0);
  };
  attribute("position", positions, 3, gl.FLOAT);
  attribute("normal", normals || vertexNormals(positions, indices), 3, gl.FLOAT);
  if (colors) attribute("color", colors, 3, gl.FLOAT);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
  gl.enable(gl.DEPTH_TEST);
  const looks = colors ? ["shaded", "colours", "shape"] : ["shape"];
  const place = name => gl.getUniformLocation(program, name);
  return {center, radius, front: openSide(positions, indices), looks, draw(view, projection, look) {
    gl.useProgram(program);
    gl.uniformMatrix4fv(place("view"), false, view);
    gl.uniformMatrix4fv(place("projection"), false, projection);
    gl.uniform1i(place("look"), {shaded: 0, colours: 1, shape: 2}[look]);
    gl.uniform3f(place("clay"), ...CLAY);
    gl.drawElements(gl.TRIANGLES, indices.length, gl.UNSIGNED_INT, 0);
  }};
};
