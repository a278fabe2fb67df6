package edgevit.core

import kotlin.math.abs
import kotlin.math.sqrt

/*
 * The rules of edgevit-deploy itself, for whatever it converts to. A bound is a multiple of rounding noise, and noise is believed
 * up to a share of the outputs: of the largest one, or of a quantised file of their root mean square.
 */

private const val MAX_MULTIPLE = 10
private const val QUANTISED_MULTIPLE = 2
private const val QUANTISED_NOISE = 0.5
private val FLOATING_NOISE = mapOf("fp32" to 1e-5, "fp16" to 2e-2, "bf16" to 1e-1)

/** Precisions with weights or activations of eight bits. */
internal val QUANTISED = listOf("int8", "int8-dynamic", "fp8", "w8", "palette8")

internal val PRECISIONS = FLOATING_NOISE.keys + QUANTISED

/** The widest bound for these golden outputs: a bundle that grants itself a wider one does not get it. */
internal fun mostAllowed(precision: String, expected: List<FloatArray>): Double {
    val noise = FLOATING_NOISE[precision] ?: return QUANTISED_MULTIPLE * QUANTISED_NOISE * rootMeanSquare(expected)
    return MAX_MULTIPLE * noise * largest(expected)
}

internal fun largest(values: List<FloatArray>): Double = values.maxOf { row -> row.maxOf { abs(it.toDouble()) } }

private fun rootMeanSquare(values: List<FloatArray>): Double =
    sqrt(values.sumOf { row -> row.sumOf { it.toDouble() * it } } / values.sumOf { it.size })
