package edgevit.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Resizing, preprocessing, turning and ranking differ from Pillow and NumPy by nothing. */
class VectorsTest {
    private val bytes = javaClass.getResourceAsStream("/vectors.json")!!.use { it.readBytes() } // convert.py app puts it there

    @Test
    fun nothingDiffers() {
        for (tally in Vectors(bytes).all()) {
            println(tally)
            assertTrue(tally.toString(), tally.holds)
        }
    }

    @Test
    fun nothingThatWasTriedHolds() {
        val none = listOf("resize", "pictures", "upright", "top").joinToString("") { ", \"$it\": []" }
        val made = Json.of(bytes)["made"]["pixels"].text()
        val empty = """{"made": {"seed": 1, "kind": "noise", "size": [2, 3], "pixels": "$made"}$none}"""
        assertEquals(listOf(true, false, false, false, false), Vectors(empty.toByteArray()).all().map { it.holds })
    }

    @Test
    fun aDifferenceIsFound() {
        val others = String(bytes, Charsets.UTF_8).replace("\"bicubic\"", "\"bilinear\"")
        val resized = Vectors(others.toByteArray()).all().first { it.kind == "resized" }
        assertTrue(resized.different.size > 150 && !resized.holds)
    }

    /** The nearest pixel, which careless apps take, is not what Pillow makes. */
    @Test
    fun nearestPixelsDiffer() {
        val picture = Pixels(4, 4, IntArray(16) { 0x10101 * (it * 16) })
        val nearest = Pixels(2, 2, IntArray(4) { picture.values[(it / 2) * 8 + (it % 2) * 2] })
        assertNotEquals(hex(nearest.bytes()), hex(resize(picture, Size(2, 2), Filter.BICUBIC).bytes()))
    }

    @Test
    fun whatStandsAboveTheColoursIsIgnored() {
        val values = IntArray(35) { it * 0x030507 and 0xffffff }
        val opaque = Pixels(7, 5, IntArray(35) { values[it] or (0xff shl 24) })
        for (size in listOf(Size(5, 7), Size(3, 4), Size(5, 3))) {
            val (plain, argb) = listOf(Pixels(7, 5, values), opaque).map { resize(it, size, Filter.BICUBIC) }
            assertEquals(hex(plain.bytes()), hex(argb.bytes()))
        }
    }
}
