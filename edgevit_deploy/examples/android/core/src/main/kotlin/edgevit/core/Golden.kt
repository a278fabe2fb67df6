package edgevit.core

import java.util.Locale
import kotlin.math.abs
import kotlin.math.sqrt

/** Golden outputs are float64 rounded to float32: each may be off by this share of itself. */
private const val HALF_ULP = 1.0 / (1 shl 24)

/** No output of a network that anyone serves is larger: half precision ends at 65504. The bound grows with the outputs. */
private const val LARGEST_GOLDEN = 1e6

/** How the model reproduces its golden outputs on this device. `bound` is null where the bundle records none. */
class GoldenVerdict(val error: Double, val bound: Double?, val rms: Boolean, val examples: Int) {
    val passed: Boolean get() = bound != null && error <= bound

    /** One line for people. */
    val line: String
        get() = when {
            bound == null -> "FAILED: the bundle records no bound for its golden data; convert it again where it runs"
            !error.isFinite() -> "FAILED: outputs that are not finite, or of another number"
            else -> "%s: %s error %.2e, bound %.2e".format(Locale.ROOT, if (passed) "passed" else "FAILED", measure, error, bound)
        }

    private val measure get() = if (rms) "root mean square" else "largest"
}

/** Runs the golden inputs, and compares with the golden outputs in the measure of the file's precision. */
fun replay(bundle: Bundle, backend: Backend): GoldenVerdict {
    val manifest = bundle.manifest
    val golden = bundle.golden()
    val outputs = golden.map { (input, _) -> backend.run(input) }
    return verdict(manifest, golden.map { it.second }, outputs)
}

/**
 * Compares outputs with what they must be. The bound is that of the first comparison of this output at the model's size, but
 * never wider than this app's own rules allow. `Refused` where golden outputs are so large that they prove nothing.
 */
fun verdict(manifest: Manifest, expected: List<FloatArray>, outputs: List<FloatArray>): GoldenVerdict {
    val given = manifest.diffs.firstOrNull { it.output == manifest.output && it.size == manifest.modelSize }
    val largest = largest(expected)
    if (largest > LARGEST_GOLDEN) refuse("the golden outputs are too large, and no bound can grow with that; convert again")
    return GoldenVerdict(
        error = error(expected, outputs, manifest.quantised),
        bound = given?.let { minOf(it.atol, mostAllowed(manifest.precision, expected)) + HALF_ULP * largest },
        rms = manifest.quantised,
        examples = expected.size,
    )
}

private fun error(expected: List<FloatArray>, outputs: List<FloatArray>, rms: Boolean): Double {
    var (largest, squares, count) = Triple(0.0, 0.0, 0L)
    for ((right, made) in expected.zip(outputs)) {
        if (made.size != right.size) return Double.POSITIVE_INFINITY // not the model that the manifest describes
        for (place in right.indices) {
            val difference = abs(made[place].toDouble() - right[place])
            if (!difference.isFinite()) return Double.POSITIVE_INFINITY
            largest = maxOf(largest, difference)
            squares += difference * difference
            count++
        }
    }
    return if (rms) sqrt(squares / count) else largest
}
