package android.graphics

import java.io.InputStream

class Rect

class ColorSpace {
    enum class Named { SRGB }

    companion object {
        fun get(@Suppress("unused") name: Named) = ColorSpace()
    }
}

/** Counts the bytes of all pixels that are held; those of a bitmap go when it is recycled. */
class Bitmap private constructor(val width: Int, val height: Int, private val premultiplied: Boolean) {
    enum class Config { ARGB_8888 }

    private var pixels = IntArray(width * height)
    private var alpha = true

    init {
        held += 4L * pixels.size
        most = maxOf(most, held)
    }

    fun recycle() {
        held -= 4L * pixels.size
        pixels = IntArray(0)
    }

    fun copy(@Suppress("unused") config: Config, @Suppress("unused") mutable: Boolean) = Bitmap(width, height, premultiplied)

    fun setHasAlpha(has: Boolean) {
        alpha = has
    }

    fun setColorSpace(@Suppress("unused") space: ColorSpace) = Unit

    fun getPixels(into: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {
        for (row in 0 until height) {
            val start = (y + row) * this.width + x
            pixels.copyInto(into, offset + row * stride, start, start + width)
        }
    }

    fun setPixels(from: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {
        for (row in 0 until height) {
            val start = offset + row * stride
            from.copyInto(pixels, (y + row) * this.width + x, start, start + width)
        }
    }

    companion object {
        var held = 0L
        var most = 0L

        fun createBitmap(width: Int, height: Int, @Suppress("unused") config: Config) = Bitmap(width, height, true)

        fun stored(width: Int, height: Int, premultiplied: Boolean) = Bitmap(width, height, premultiplied)

        fun createScaledBitmap(source: Bitmap, width: Int, height: Int, @Suppress("unused") filter: Boolean): Bitmap {
            if (width == source.width && height == source.height) return source
            check(source.premultiplied || !source.alpha) { "cannot be drawn" }
            return Bitmap(width, height, true)
        }
    }
}

/** A picture is the text `WIDTH HEIGHT`; what it shows is black. */
object BitmapFactory {
    class Options {
        var inJustDecodeBounds = false
        var inPreferredConfig = Bitmap.Config.ARGB_8888
        var inPremultiplied = true
        var inScaled = true
        var outWidth = -1
        var outHeight = -1
    }

    fun decodeStream(stream: InputStream?, @Suppress("unused") padding: Rect?, options: Options): Bitmap? {
        val sides = stream!!.readBytes().decodeToString().split(" ").mapNotNull { it.toIntOrNull() }
        if (sides.size != 2) return null
        options.outWidth = sides[0]
        options.outHeight = sides[1]
        return if (options.inJustDecodeBounds) null else Bitmap.stored(sides[0], sides[1], options.inPremultiplied)
    }
}
