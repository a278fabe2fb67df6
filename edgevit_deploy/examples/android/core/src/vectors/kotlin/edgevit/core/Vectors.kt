package edgevit.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** How many cases of a kind were tried, and which of them differ from Pillow. */
class Tally(val kind: String, val tried: Int, val different: List<String>) {
    /** Whether none differs; of nothing, nothing is said. */
    val holds: Boolean get() = tried > 0 && different.isEmpty()

    override fun toString() = "$kind: $tried tried, ${different.size} different ${different.take(5)}"
}

/** What Pillow and NumPy make of pictures (vectors.json): tried by the tests of the JVM, and by those on a device. */
class Vectors(bytes: ByteArray) {
    private val document = Json.of(bytes)

    fun all(): List<Tally> = listOf(made(), resized(), preprocessed(), upright(), best())

    /** The pictures themselves: without this, all else would differ for the wrong reason. */
    private fun made() = tally("made", listOf(document["made"])) { hex(picture(it).bytes()) == it["pixels"].text() }

    private fun resized() = tally("resized", document["resize"].list()) {
        val filter = Filter.valueOf(it["interpolation"].text().uppercase())
        sha256(resize(picture(it), size(it["resized"]), filter).bytes()) == it["sha256"].text()
    }

    private fun preprocessed() = tally("preprocessed", document["pictures"].list()) {
        val preprocess = preprocess(it["preprocess"])
        val pixels = resizeAndCrop(picture(it), preprocess)
        sha256(pixels.bytes()) == it["sha256"].text() &&
            Takes.values().all { takes ->
                val expected = it["${takes.name.lowercase()}_sha256"].text()
                when (val planes = tensor(pixels, preprocess, takes)) {
                    is Planes.Floats -> sha256(bytes(planes.values)) == expected
                    is Planes.Bytes -> sha256(planes.values) == expected
                }
            }
    }

    /** Row by row and column by column: either is what the other's is made of when a picture is turned. */
    private fun upright() = tally("upright", document["upright"].list()) {
        val turned = upright(picture(it), it["orientation"].whole(0L..9L).toInt())
        val asked = size(it["upright"])
        turned.height == asked.height && turned.width == asked.width &&
            sha256(rows(turned).bytes()) == it["sha256"].text() && sha256(columns(turned).bytes()) == it["sha256"].text()
    }

    private fun best() = tally("top", document["top"].list()) {
        val values = it["values"].list().map { value -> value.number().toFloat() }.toFloatArray()
        top(values) == it["top"].list().map { place -> place.whole(0L..MAX_VALUES).toInt() }
    }

    private fun tally(kind: String, cases: List<Json>, same: (Json) -> Boolean) =
        Tally(kind, cases.size, cases.indices.filterNot { same(cases[it]) }.map { "$kind $it" })

    companion object {
        /** The picture of a seed; sides are not bounded here, since the file is our own. */
        fun picture(case: Json): Pixels {
            val (height, width) = case["size"].list().map { it.whole(1..MAX_VALUES).toInt() }
            val extremes = case["kind"].text() == "extremes"
            var state = case["seed"].whole(0..MAX_VALUES).toInt()
            val values = IntArray(height * width)
            for (place in values.indices) {
                repeat(3) {
                    state = state * 1664525 + 1013904223 // modulo 2^32, as Int is
                    val byte = if (extremes) 255 * (state ushr 31) else state ushr 24
                    values[place] = values[place] shl 8 or byte
                }
            }
            return Pixels(width, height, values)
        }

        /** A picture, read by its rows. */
        fun rows(picture: Picture): Pixels {
            val (row, values) = IntArray(picture.width) to IntArray(picture.width * picture.height)
            for (y in 0 until picture.height) {
                picture.row(y, row)
                row.copyInto(values, y * picture.width)
            }
            return Pixels(picture.width, picture.height, values)
        }

        private fun columns(picture: Picture): Pixels {
            val (column, values) = IntArray(picture.height) to IntArray(picture.width * picture.height)
            for (x in 0 until picture.width) {
                picture.column(x, column)
                for (y in 0 until picture.height) values[y * picture.width + x] = column[y]
            }
            return Pixels(picture.width, picture.height, values)
        }

        /** Little-endian float32, as the hashes are of. */
        fun bytes(values: FloatArray): ByteArray {
            val buffer = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
            buffer.asFloatBuffer().put(values)
            return buffer.array()
        }
    }
}
