/** What is wrong with a bundle, a picture or this browser, in one line that ends with what to do. */
export class Refusal extends Error {
  name = "Refusal";
}

/** Return text without control characters, and without what turns the direction of text around. */
export function clean(text) {
  return text.replace(/[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, " ").trim();
}
