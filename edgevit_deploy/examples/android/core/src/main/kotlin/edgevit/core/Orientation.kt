package edgevit.core

/** A picture turned upright, by the orientation that EXIF records; a number that is none leaves it as it is. */
fun upright(picture: Picture, orientation: Int): Picture = if (orientation in 2..8) Turned(picture, orientation) else picture

/** The orientation of a picture that must be turned clockwise to be upright, as cameras say it. */
fun orientationOf(degreesClockwise: Int): Int = when (degreesClockwise) {
    90 -> 6
    180 -> 3
    270 -> 8
    else -> 1
}

private class Turned(private val picture: Picture, orientation: Int) : Picture {
    /** Rows become columns. */
    private val swapped = orientation >= 5

    /** Along the rows, then along the columns of the upright picture, the other one is read from its end. */
    private val fromRight = orientation in listOf(2, 3, 6, 7)
    private val fromBottom = orientation in listOf(3, 4, 7, 8)

    override val width = if (swapped) picture.height else picture.width
    override val height = if (swapped) picture.width else picture.height

    override fun row(y: Int, into: IntArray) {
        val line = if (fromBottom) height - 1 - y else y
        if (swapped) picture.column(line, into) else picture.row(line, into)
        if (fromRight) into.reverse(0, width)
    }

    override fun column(x: Int, into: IntArray) {
        val line = if (fromRight) width - 1 - x else x
        if (swapped) picture.row(line, into) else picture.column(line, into)
        if (fromBottom) into.reverse(0, height)
    }
}
