package edgevit.core

/**
 * A picture that is asked for its pixels a line at a time, so that a photograph lies in memory once.
 *
 * A pixel is 0xRRGGBB; what stands above these 24 bits is ignored, so that Android's own ARGB can be given as it is.
 */
interface Picture {
    val width: Int
    val height: Int

    /** Fills the first `width` entries with a row. */
    fun row(y: Int, into: IntArray)

    /** Fills the first `height` entries with a column. */
    fun column(x: Int, into: IntArray)
}

/** Pixels that are in memory, rows from the top. */
class Pixels(override val width: Int, override val height: Int, val values: IntArray) : Picture {
    override fun row(y: Int, into: IntArray) {
        values.copyInto(into, 0, y * width, (y + 1) * width)
    }

    override fun column(x: Int, into: IntArray) {
        for (y in 0 until height) into[y] = values[y * width + x]
    }

    /** The bytes R, G, B of each pixel. */
    fun bytes(): ByteArray {
        val bytes = ByteArray(3 * values.size)
        values.forEachIndexed { place, value ->
            bytes[3 * place] = (value shr 16).toByte()
            bytes[3 * place + 1] = (value shr 8).toByte()
            bytes[3 * place + 2] = value.toByte()
        }
        return bytes
    }
}
