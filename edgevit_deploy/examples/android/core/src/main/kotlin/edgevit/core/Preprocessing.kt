package edgevit.core

/** The size to which a whole picture is resized before the crop. */
fun resizedSize(picture: Picture, preprocess: Preprocess): Size {
    val (height, width) = preprocess.resize
    val (pictureHeight, pictureWidth) = picture.height.toLong() to picture.width.toLong()
    return when {
        preprocess.stretch -> preprocess.resize
        height * pictureWidth >= width * pictureHeight -> Size(height, longSide(height * pictureWidth, pictureHeight))
        else -> Size(longSide(width * pictureHeight, pictureWidth), width)
    }
}

/** Divides as Python does, then cuts the fraction off; what is larger than any picture is refused by `resize`. */
private fun longSide(product: Long, side: Long): Int = (product.toDouble() / side).toInt()

/** Resizes an upright picture, and cuts its middle out. */
fun resizeAndCrop(picture: Picture, preprocess: Preprocess): Pixels {
    val resized = resize(picture, resizedSize(picture, preprocess), preprocess.filter)
    val (height, width) = preprocess.crop
    val top = Math.rint((resized.height - height) / 2.0).toInt() // half to even, as Python rounds
    val left = Math.rint((resized.width - width) / 2.0).toInt()
    val result = IntArray(height * width)
    for (y in 0 until height) {
        val start = (top + y) * resized.width + left
        resized.values.copyInto(result, y * width, start, start + width)
    }
    return Pixels(width, height, result)
}

/** The network's input of a picture that has its size: three planes in the order R, G, B. */
fun tensor(pixels: Pixels, preprocess: Preprocess, takes: Takes): Planes {
    val count = 3 * pixels.values.size
    if (takes == Takes.UINT8) {
        val bytes = ByteArray(count)
        eachValue(pixels) { _, place, value -> bytes[place] = value.toByte() }
        return Planes.Bytes(bytes)
    }
    val table = Array(3) { channel ->
        FloatArray(256) { if (takes == Takes.IMAGE) it.toFloat() else normalised(it, channel, preprocess) }
    }
    val floats = FloatArray(count)
    eachValue(pixels) { channel, place, value -> floats[place] = table[channel][value] }
    return Planes.Floats(floats)
}

private inline fun eachValue(pixels: Pixels, use: (channel: Int, place: Int, value: Int) -> Unit) {
    val count = pixels.values.size
    for (channel in 0 until 3) {
        val shift = 16 - 8 * channel
        for (place in 0 until count) use(channel, channel * count + place, pixels.values[place] shr shift and 255)
    }
}

/** In double, and in this order: another one rounds otherwise. */
private fun normalised(value: Int, channel: Int, preprocess: Preprocess): Float {
    val ranged = value / 255.0 * (preprocess.high - preprocess.low) + preprocess.low
    return ((ranged - preprocess.mean[channel]) / preprocess.std[channel]).toFloat()
}
