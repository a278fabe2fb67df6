// Pillow's 8-bit resampling (its Resample.c), exactly: the same bytes for every picture, size and filter.
// A canvas resizes in another way, which moves the logits of this network by up to 0.6.
//
// A picture here is {height, width, channels, data}: a Uint8Array or Uint8ClampedArray, rows from the top, R, G and B first of
// each pixel; a fourth channel is left out.

const PRECISION_BITS = 22; // of the integer coefficients: 32 bits less 8 of a pixel and 2 of the sum's headroom
const HALF = 1 << (PRECISION_BITS - 1);

const FILTERS = {
  bicubic: { support: 2, at: cubic },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
};

function cubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/** Resize a picture to RGB, one side after the other; a pass whose size does not change is left out. */
export function resize(picture, height, width, interpolation) {
  const columns = (now) => (now.width === width ? now : horizontal(now, width, interpolation));
  const rows = (now) => (now.height === height ? now : vertical(now, height, interpolation));
  return withoutAlpha(rowsFirst(picture, height, width) ? columns(rows(picture)) : rows(columns(picture)));
}

/** Each pass rounds, so their order matters. Pillow 13 begins with the rows where more than twice as many of them go. */
function rowsFirst(picture, height, width) {
  return height < picture.height && picture.height - height > 2 * (picture.width - width);
}

function withoutAlpha(picture) {
  if (picture.channels === 3) return picture;
  const data = new Uint8Array(picture.height * picture.width * 3);
  for (let from = 0, to = 0; to < data.length; from += picture.channels, to += 3) {
    data[to] = picture.data[from];
    data[to + 1] = picture.data[from + 1];
    data[to + 2] = picture.data[from + 2];
  }
  return { ...picture, channels: 3, data };
}

/** For each place of the resized side: where its taps begin, how many there are, and their integers, one row of `taps` each. */
function coefficients(side, resized, interpolation) {
  const filter = FILTERS[interpolation];
  const scale = side / resized;
  const stretch = Math.max(scale, 1); // a filter that is as wide as an output pixel: antialiasing
  const support = filter.support * stretch;
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(resized);
  const count = new Int32Array(resized);
  const integers = new Int32Array(resized * taps);
  const weights = new Float64Array(taps);
  for (let place = 0; place < resized; place++) {
    const centre = (place + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(side, Math.trunc(centre + support + 0.5));
    let sum = 0;
    for (let tap = 0; tap < high - low; tap++) {
      weights[tap] = filter.at((tap + low - centre + 0.5) * (1 / stretch));
      sum += weights[tap];
    }
    for (let tap = 0; tap < high - low; tap++) {
      const share = (sum === 0 ? weights[tap] : weights[tap] / sum) * (1 << PRECISION_BITS);
      integers[place * taps + tap] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    first[place] = low;
    count[place] = high - low;
  }
  return { taps, first, count, integers };
}

function horizontal({ height, width, channels, data }, resized, interpolation) {
  const { taps, first, count, integers } = coefficients(width, resized, interpolation);
  const out = new Uint8Array(height * resized * 3);
  for (let row = 0, to = 0; row < height; row++) {
    for (let place = 0; place < resized; place++, to += 3) {
      let from = (row * width + first[place]) * channels;
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      for (let tap = place * taps, end = tap + count[place]; tap < end; tap++, from += channels) {
        const share = integers[tap];
        red += data[from] * share; // below 2^31: the shares' absolute sum is at most 1.3 * 2^22
        green += data[from + 1] * share;
        blue += data[from + 2] * share;
      }
      out[to] = clamped(red >> PRECISION_BITS);
      out[to + 1] = clamped(green >> PRECISION_BITS);
      out[to + 2] = clamped(blue >> PRECISION_BITS);
    }
  }
  return { height, width: resized, channels: 3, data: out };
}

function vertical({ height, width, channels, data }, resized, interpolation) {
  const { taps, first, count, integers } = coefficients(height, resized, interpolation);
  const stride = width * channels;
  const out = new Uint8Array(resized * stride);
  for (let row = 0, to = 0; row < resized; row++) {
    for (let column = 0; column < stride; column++, to++) {
      let sum = HALF;
      let from = first[row] * stride + column;
      for (let tap = row * taps, end = tap + count[row]; tap < end; tap++, from += stride) sum += data[from] * integers[tap];
      out[to] = clamped(sum >> PRECISION_BITS);
    }
  }
  return { height: resized, width, channels, data: out };
}

function clamped(value) {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
