package edgevit.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import kotlin.math.sqrt

/** What the screen says of golden data, of what the bundle proved, and of a picture. */
class VerdictTest {
    /** A runtime that is off by a little. */
    private class Off(private val bundle: Bundle, private val by: Float) : Backend {
        override val name = "off by $by"
        override fun close() = Unit
        override fun run(input: FloatArray): FloatArray {
            val right = bundle.golden().first { it.first.contentEquals(input) }.second
            return FloatArray(right.size) { if (it == 1) right[it] + by else right[it] }
        }
    }

    private fun bundle(vararg changes: Pair<String, String>): Bundle {
        val made = MadeBundle()
        changes.forEach { (path, json) -> made.manifest.put(path, json) }
        return made.open()
    }

    @Test
    fun theBoundIsTheFirstAtTheModelsSize() {
        val bundle = bundle()
        val verdict = replay(bundle, Off(bundle, 0.0078125f))
        assertEquals(0.01 + 6.0 / (1 shl 24), verdict.bound!!, 0.0)
        assertEquals(0.0078125, verdict.error, 0.0)
        assertEquals("passed: largest error 7.81e-03, bound 1.00e-02", verdict.line)
        assertEquals("FAILED: largest error 1.56e-02, bound 1.00e-02", replay(bundle, Off(bundle, 0.015625f)).line)
    }

    @Test
    fun quantisedFilesAreMeasuredByTheRootOfTheMeanSquare() {
        val rms = """{"output": "logits", "image_size": [4, 4], "max_abs": 9.0, "rms": 0.001,
            "tolerance": {"atol": 0.01, "measure": "rms"}}"""
        val bundle = bundle("parity.diffs.1" to rms, "quantisation" to "{}")
        val verdict = replay(bundle, Off(bundle, 0.015625f)) // one of three outputs, in both examples
        assertEquals(0.015625 / sqrt(3.0), verdict.error, 1e-17)
        assertTrue(verdict.passed)
        assertTrue(verdict.line.startsWith("passed: root mean square error"))
        assertTrue("Decisions not judged" in banner(bundle.manifest)!!)
    }

    @Test
    fun whatIsNotFiniteFails() {
        val bundle = bundle()
        for (by in listOf(Float.NaN, Float.POSITIVE_INFINITY)) {
            val verdict = replay(bundle, Off(bundle, by))
            assertFalse(verdict.passed)
            assertEquals("FAILED: outputs that are not finite, or of another number", verdict.line)
            assertThrows(Refused::class.java) { Off(bundle, by).checked(bundle.golden()[0].first, bundle.manifest) }
        }
    }

    @Test
    fun aModelOfOtherClassesFails() {
        val bundle = bundle()
        val other = object : Backend {
            override val name = "of two classes"
            override fun close() = Unit
            override fun run(input: FloatArray) = FloatArray(2)
        }
        assertFalse(replay(bundle, other).passed)
        val line = assertThrows(Refused::class.java) { other.checked(FloatArray(48), bundle.manifest) }.message!!
        assertTrue("2 values for 3 classes" in line)
    }

    @Test
    fun withoutABoundNothingPasses() {
        val bundle = bundle("parity.diffs" to "[]", "parity.status" to "\"built, not run\"")
        val verdict = replay(bundle, Off(bundle, 0f))
        assertFalse(verdict.passed)
        assertTrue("records no bound" in verdict.line)
    }

    @Test
    fun theBannerSaysWhatIsNotProven() {
        assertNull(banner(bundle().manifest))
        for (status in listOf("built, not run", "failed")) {
            val line = banner(bundle("parity.status" to "\"$status\"").manifest)
            assertEquals("UNPROVEN: the bundle says of its file: $status", line)
        }
        assertEquals("UNPROVEN: the bundle's own comparisons failed", banner(bundle("parity.diffs.2.max_abs" to "0.6").manifest))
        assertEquals("UNPROVEN: the bundle's own comparisons failed", banner(bundle("parity.diffs" to "[]").manifest))
        val judged = { agreeing: Int -> """{"pictures": 2000, "agreeing": $agreeing, "min_agreement": 0.98}""" }
        assertNull(banner(bundle("quantisation" to "{}", "decisions" to judged(1980)).manifest))
        val line = banner(bundle("quantisation" to "{}", "decisions" to judged(1970)).manifest)!!
        assertEquals("UNPROVEN: its first class is the network's on only 1970 of 2000 pictures", line)
    }

    /** Wilson's interval of 8 of 10, as published tables give it: 0.490 to 0.943. */
    @Test
    fun theLowerEndIsWilsons() {
        assertEquals(0.490, lowest(Decisions(10, 8, 0.5)), 5e-4)
        assertEquals(0.0, lowest(Decisions(0, 0, 0.5)), 0.0)
    }

    @Test
    fun logitsBecomeProbabilities() {
        val labels = listOf("a", "b", "c", "d", "e", "f")
        val guesses = guesses(floatArrayOf(0f, 1f, 1f, 3f, -2f, 0f), labels, areProbabilities = false)
        assertEquals(listOf("d", "b", "c", "a", "f"), guesses.map { it.label })
        val sum = 2.0 + 2 * Math.E + Math.exp(3.0) + Math.exp(-2.0)
        assertEquals(Math.exp(3.0) / sum, guesses[0].probability, 1e-15)
        assertEquals(0.25, guesses(floatArrayOf(0.25f, 0.75f), labels, areProbabilities = true)[1].probability, 0.0)
        assertEquals(1.0, guesses(floatArrayOf(1000f, -1000f), labels, areProbabilities = false)[0].probability, 0.0)
    }

    @Test
    fun schemaOneIsRead() {
        val made = MadeBundle()
        made.record()
        for ((path, json) in listOf(
            "schema_version" to "1", "input_form" to "\"image\"", "output_form" to "\"probabilities\"", "conversion" to "null",
            "golden" to """{"input_path": "golden/input.f32", "input_shape": [2, 3, 4, 4],
                "output_path": "golden/output.f32", "output_shape": [2, 3]}""",
            "parity.diffs" to """[{"image_size": [4, 4], "max_abs": 0.001, "tolerance": {"atol": 0.01}}]""",
        )) made.manifest.put(path, json)
        val manifest = made.open().manifest
        assertTrue(manifest.takesImage)
        assertTrue(manifest.returnsProbabilities)
        assertEquals(0.01, verdict(manifest, listOf(FloatArray(3)), listOf(FloatArray(3))).bound!!, 0.0)
    }

    @Test
    fun camerasAreTurned() {
        assertEquals(listOf(1, 6, 3, 8), listOf(0, 90, 180, 270).map(::orientationOf))
    }
}
