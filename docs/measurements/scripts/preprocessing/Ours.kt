// The Android sample's platform-free part, on the JVM. ImageIO decodes, which no phone has: OursKt LIST OUT (see jobs.h)

import edgevit.core.Filter
import edgevit.core.Pixels
import edgevit.core.Preprocess
import edgevit.core.Size
import edgevit.core.resizeAndCrop
import edgevit.core.upright
import java.awt.color.ColorSpace
import java.awt.image.BufferedImage
import java.awt.image.DataBuffer
import java.awt.image.IndexColorModel
import java.io.File
import javax.imageio.ImageIO

/** The stored values of a picture: no colour management, no opacity, the upper eight of sixteen bits. */
fun stored(image: BufferedImage): Pixels {
    val (width, height) = image.width to image.height
    if (image.colorModel is IndexColorModel) return Pixels(width, height, image.getRGB(0, 0, width, height, null, 0, width))
    require(image.colorModel.colorSpace.type != ColorSpace.TYPE_CMYK) { "ImageIO gives four inks, and what makes colours of them is not its own" }
    val raster = image.raster
    val shift = if (raster.dataBuffer.dataType == DataBuffer.TYPE_USHORT) 8 else 0
    val values = IntArray(width * height)
    val colours = if (raster.numBands < 3) listOf(0, 0, 0) else listOf(0, 1, 2)
    val row = IntArray(width * raster.numBands)
    for (y in 0 until height) {
        raster.getPixels(0, y, width, 1, row)
        for (x in 0 until width) {
            for (band in colours) values[y * width + x] = values[y * width + x] shl 8 or (row[x * raster.numBands + band] shr shift)
        }
    }
    return Pixels(width, height, values)
}

fun main(words: Array<String>) {
    File(words[0]).readLines().forEachIndexed { number, line ->
        val fields = line.split(" ", limit = 6)
        val (resizeHeight, resizeWidth, cropHeight, cropWidth, orientation) = fields.take(5).map(String::toInt)
        val preprocess = Preprocess(
            resize = Size(resizeHeight, resizeWidth),
            crop = Size(cropHeight, cropWidth),
            stretch = false,
            filter = Filter.BICUBIC,
            mean = doubleArrayOf(0.0, 0.0, 0.0),
            std = doubleArrayOf(1.0, 1.0, 1.0),
            low = 0.0,
            high = 1.0,
        )
        try {
            val image = ImageIO.read(File(fields[5])) ?: error("ImageIO knows no such format")
            val pixels = resizeAndCrop(upright(stored(image), orientation), preprocess)
            File(words[1], "$number.rgb").writeBytes(pixels.bytes())
            println()
        } catch (error: Exception) {
            println((error.message ?: error.toString()).lines().first())
        }
    }
}
