package edgevit.core

import kotlin.math.exp

/** A class and how probable it is. */
class Guess(val place: Int, val label: String, val probability: Double)

/** The places of the largest values, largest first; of equal ones the first (adding 0 makes -0 one of them). */
fun top(values: FloatArray, count: Int = 5): List<Int> =
    values.indices.sortedWith(compareByDescending<Int> { values[it] + 0f }.thenBy { it }).take(count)

/** What a network's outputs say, most probable first. */
fun guesses(outputs: FloatArray, labels: List<String>, areProbabilities: Boolean, count: Int = 5): List<Guess> {
    val probabilities = if (areProbabilities) DoubleArray(outputs.size) { outputs[it].toDouble() } else softmax(outputs)
    return top(outputs, count).map { Guess(it, labels[it], probabilities[it]) }
}

private fun softmax(logits: FloatArray): DoubleArray {
    val largest = logits.max().toDouble()
    val powers = DoubleArray(logits.size) { exp(logits[it] - largest) }
    val sum = powers.sum()
    return DoubleArray(logits.size) { powers[it] / sum }
}
