/** What is wrong with a bundle, a picture or this browser, in one line that ends with what to do. */
export class Refusal extends Error {
  name = "Refusal";
}
