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
            val right = bundle.golden().first { (it.first as Planes.Floats).values.contentEquals(input) }.second
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
        val verdict = replay(bundle, Off(bundle, 1f / 4096))
        assertEquals(0.0005 + 6.0 / (1 shl 24), verdict.bound!!, 0.0)
        assertEquals(1.0 / 4096, verdict.error, 0.0)
        assertEquals("passed: largest error 2.44e-04, bound 5.00e-04", verdict.line)
        assertEquals("FAILED: largest error 9.77e-04, bound 5.00e-04", replay(bundle, Off(bundle, 1f / 1024)).line)
    }

    @Test
    fun quantisedFilesAreMeasuredByTheRootOfTheMeanSquare() {
        val rms = """{"output": "logits", "image_size": [4, 4], "max_abs": 9.0, "rms": 0.001,
            "tolerance": {"atol": 0.01, "measure": "rms"}}"""
        val bundle = bundle("parity.diffs.1" to rms, "precision" to "\"int8\"")
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
    fun aModelThatTakesBytesIsGivenBytes() {
        val bundle = MadeBundle().apply { takeBytes() }.open()
        assertEquals(Takes.UINT8, bundle.manifest.takes)
        val given = bundle.golden().map { (it.first as Planes.Bytes).values }
        assertEquals(listOf(48, 48), given.map { it.size })
        assertEquals(-128, given[1].last().toInt()) // 128, as Kotlin says it
        val right = object : Backend {
            override val name = "of bytes"
            override fun close() = Unit
            override fun run(input: FloatArray): FloatArray = throw AssertionError("floats")
            override fun run(input: ByteArray) = bundle.golden()[given.indexOfFirst { it.contentEquals(input) }].second
        }
        assertTrue(replay(bundle, right).passed)
        val line = assertThrows(Refused::class.java) { replay(bundle, Off(bundle, 0f)) }.message!!
        assertTrue(line, "takes no bytes; convert again with --input image" in line)
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
        val line = assertThrows(Refused::class.java) { other.checked(Planes.Floats(FloatArray(48)), bundle.manifest) }.message!!
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
        for (rms in listOf("0.011", "null")) { // reports of earlier versions have none
            val above = """{"output": "logits", "image_size": [4, 4], "max_abs": 0.0, "rms": $rms,
                "tolerance": {"atol": 0.01, "measure": "rms"}}"""
            val line = banner(bundle("parity.diffs.2" to above, "precision" to "\"int8\"").manifest)
            assertEquals("UNPROVEN: the bundle's own comparisons failed", line)
        }
    }

    private fun judged(pictures: Int, agreeing: Int, of: Int?, broken: Int? = null): String? {
        val sample = of?.let { """{"of": $it, "seed": 0, "runtime": "an evaluation"}""" }
        val decisions = """{"pictures": $pictures, "agreeing": $agreeing, "min_agreement": 0.98, "sample": $sample,
            "broken": $broken}"""
        return banner(bundle("precision" to "\"int8\"", "decisions" to decisions).manifest)
    }

    @Test
    fun decisionsAreJudgedByTheirInterval() {
        assertNull(judged(2000, 1980, null))
        assertNull(judged(2000, 1980, 50_000))
        for ((pictures, agreeing, of) in listOf(Triple(2000, 1970, null), Triple(12, 12, 12), Triple(100, 80, 1000))) {
            val line = "UNPROVEN: its first class is the network's on only $agreeing of $pictures pictures"
            assertEquals(line, judged(pictures, agreeing, of))
        }
        for (agreeing in listOf(12, 11)) {
            val line = judged(12, agreeing, 1000)!!
            assertTrue(line, line.startsWith("Decisions judged on a sample: ") && "UNPROVEN" !in line)
        }
    }

    /** Pictures that could not be decoded are none that were left out: all that there are were tried. */
    @Test
    fun picturesThatCannotBeDecodedWereTriedToo() {
        for ((pictures, agreeing, broken) in listOf(Triple(100, 98, 3), Triple(95, 95, 5), Triple(12, 12, 1))) {
            val line = "UNPROVEN: its first class is the network's on only $agreeing of $pictures pictures"
            assertEquals(line, judged(pictures, agreeing, pictures + broken, broken))
            for (fewer in listOf(broken - 1, 0, null)) {
                val drawn = judged(pictures, agreeing, pictures + broken, fewer)!!
                assertTrue(drawn, drawn.startsWith("Decisions judged on a sample: "))
            }
        }
    }

    /** Wilson's interval of 8 of 10, as published tables give it: 0.490 to 0.943. */
    @Test
    fun theIntervalIsWilsons() {
        val interval = interval(Decisions(10, 8, 0.5, false))
        assertEquals(0.490, interval.start, 5e-4)
        assertEquals(0.943, interval.endInclusive, 5e-4)
        assertEquals(0.0..1.0, interval(Decisions(0, 0, 0.5, false)))
        assertEquals(0.0, interval(Decisions(10, 0, 0.5, false)).start, 0.0)
        assertEquals(1.0, interval(Decisions(10, 10, 0.5, false)).endInclusive, 0.0)
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
        val manifest = MadeBundle().apply { asSchemaOne() }.open().manifest
        assertEquals(Takes.IMAGE, manifest.takes)
        assertTrue(manifest.returnsProbabilities)
        val expected = listOf(floatArrayOf(2000f, 0f, 0f))
        assertEquals(0.01 + 2000.0 / (1 shl 24), verdict(manifest, expected, expected).bound!!, 0.0)
    }

    @Test
    fun camerasAreTurned() {
        assertEquals(listOf(1, 6, 3, 8), listOf(0, 90, 180, 270).map(::orientationOf))
    }
}
