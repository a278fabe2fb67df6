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
            assertTrue(tally.tried > 0)
            assertEquals(tally.toString(), 0, tally.different.size)
        }
    }

    @Test
    fun aDifferenceIsFound() {
        val others = String(bytes, Charsets.UTF_8).replace("\"bicubic\"", "\"bilinear\"")
        assertTrue(Vectors(others.toByteArray()).all().first { it.kind == "resized" }.different.size > 150)
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
