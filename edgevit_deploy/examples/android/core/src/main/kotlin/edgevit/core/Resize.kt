package edgevit.core

import kotlin.math.abs
import kotlin.math.ceil

/** How a pixel between others is made of them; `reach` in pixels of the coarser picture. */
enum class Filter(val reach: Double) {
    BICUBIC(2.0) {
        override fun weight(distance: Double): Double {
            val x = abs(distance)
            return when {
                x < 1 -> ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
                x < 2 -> (((x - 5) * x + 8) * x - 4) * CUBIC
                else -> 0.0
            }
        }
    },
    BILINEAR(1.0) {
        override fun weight(distance: Double): Double = maxOf(0.0, 1 - abs(distance))
    };

    abstract fun weight(distance: Double): Double
}

private const val CUBIC = -0.5
private const val FRACTION_BITS = 22 // 8 bits of a pixel, and 2 for what the cubic overshoots, fit beside them into an Int

/** More pixels than this on the way are no photograph but a strip, or an absurd size. */
const val WHOLE_PIXELS = 1L shl 25

/**
 * Resizes as Pillow 13 does, to the last bit: an antialiased filter in integers of 22 fractional bits, one side after the other.
 *
 * `Bitmap.createScaledBitmap` has no antialiasing: its pixels are other ones, and so are a network's outputs.
 */
fun resize(picture: Picture, to: Size, filter: Filter): Pixels {
    val (height, width) = to
    val onTheWay = maxOf(maxOf(height, picture.height).toLong() * width, height.toLong() * maxOf(width, picture.width))
    if (onTheWay > WHOLE_PIXELS) refuse("a strip of ${picture.width} x ${picture.height} pixels; cut it, and open it again")
    return if (heightFirst(picture, to)) {
        withWidth(withHeight(picture, height, filter), width, filter)
    } else {
        withHeight(withWidth(picture, width, filter), height, filter)
    }
}

/** Each pass rounds, so their order matters; Pillow begins with the height where more than twice as many rows as columns go. */
private fun heightFirst(picture: Picture, to: Size) =
    to.height < picture.height && picture.height - to.height > 2L * (picture.width - to.width)

private fun withWidth(picture: Picture, width: Int, filter: Filter): Pixels {
    val result = IntArray(picture.height * width)
    val row = IntArray(picture.width)
    val taps = Taps(picture.width, width, filter)
    for (y in 0 until picture.height) {
        picture.row(y, row)
        if (width == picture.width) row.copyInto(result, y * width)
        else for (x in 0 until width) result[y * width + x] = taps.sum(x, row)
    }
    return Pixels(width, picture.height, result)
}

private fun withHeight(picture: Picture, height: Int, filter: Filter): Pixels {
    val width = picture.width
    if (picture is Pixels && height == picture.height) return picture
    val result = IntArray(height * width)
    val column = IntArray(picture.height)
    val taps = Taps(picture.height, height, filter)
    for (x in 0 until width) {
        picture.column(x, column)
        for (y in 0 until height) result[y * width + x] = taps.sum(y, column)
    }
    return Pixels(width, height, result)
}

/** For each pixel of a resized line, which of the old ones it is made of, and their weights. */
private class Taps(from: Int, to: Int, filter: Filter) {
    private val scale = from.toDouble() / to
    private val coarser = maxOf(scale, 1.0)
    private val reach = filter.reach * coarser
    private val most = ceil(reach).toInt() * 2 + 1
    private val starts = IntArray(to)
    private val counts = IntArray(to)
    private val weights = IntArray(to * most)

    init {
        val exact = DoubleArray(most)
        for (place in 0 until to) {
            val centre = (place + 0.5) * scale
            val start = maxOf(0, (centre - reach + 0.5).toInt())
            val count = minOf(from, (centre + reach + 0.5).toInt()) - start
            var total = 0.0
            for (tap in 0 until count) {
                exact[tap] = filter.weight((tap + start - centre + 0.5) * (1 / coarser))
                total += exact[tap]
            }
            for (tap in 0 until count) weights[place * most + tap] = fixed(if (total != 0.0) exact[tap] / total else exact[tap])
            starts[place] = start
            counts[place] = count
        }
    }

    /** Rounds half away from zero. */
    private fun fixed(weight: Double): Int = (weight * (1 shl FRACTION_BITS) + if (weight < 0) -0.5 else 0.5).toInt()

    /** A pixel of the resized line. */
    fun sum(place: Int, line: IntArray): Int {
        var red = 1 shl (FRACTION_BITS - 1)
        var green = red
        var blue = red
        var from = starts[place]
        for (tap in place * most until place * most + counts[place]) {
            val pixel = line[from++]
            val weight = weights[tap]
            red += (pixel shr 16 and 255) * weight
            green += (pixel shr 8 and 255) * weight
            blue += (pixel and 255) * weight
        }
        return byte(red) shl 16 or (byte(green) shl 8) or byte(blue)
    }

    private fun byte(sum: Int): Int = (sum shr FRACTION_BITS).coerceIn(0, 255)
}
