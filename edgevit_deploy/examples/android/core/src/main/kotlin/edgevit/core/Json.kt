package edgevit.core

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import com.google.gson.JsonParseException

/** A value of a manifest and where it stands, so that what is wrong with it can be said. */
class Json private constructor(private val element: JsonElement?, private val where: String) {
    val isNull: Boolean get() = element == null || element.isJsonNull

    operator fun get(name: String): Json {
        if (element == null || !element.isJsonObject) wrong("an object")
        return Json(element.asJsonObject.get(name), if (where.isEmpty()) name else "$where.$name")
    }

    fun list(): List<Json> {
        if (element == null || !element.isJsonArray) wrong("a list")
        return element.asJsonArray.mapIndexed { place, value -> Json(value, "$where[$place]") }
    }

    fun text(): String = textOrNull() ?: wrong("text")

    fun textOrNull(): String? = element?.takeIf { it.isJsonPrimitive && it.asJsonPrimitive.isString }?.asString

    /** A whole number between two others. */
    fun whole(range: LongRange): Long {
        val value = number()
        val fits = value == Math.rint(value) && value >= range.first && value <= range.last
        return if (fits) value.toLong() else wrong("a whole number from ${range.first} to ${range.last}")
    }

    /** A finite number: this reader takes the words NaN and Infinity for numbers. */
    fun number(): Double {
        val number = element?.takeIf { it.isJsonPrimitive && it.asJsonPrimitive.isNumber } ?: wrong("a finite number")
        return runCatching { number.asDouble }.getOrNull()?.takeIf { it.isFinite() } ?: wrong("a finite number")
    }

    fun oneOf(vararg words: String): String = text().takeIf { it in words } ?: wrong("one of ${words.joinToString()}")

    /** Refuses the manifest for this value. */
    fun wrong(expected: String): Nothing = refuse("manifest.json: $where is not $expected; convert again")

    companion object {
        /** Reads the bytes of a manifest. */
        fun of(bytes: ByteArray): Json {
            val document = try {
                JsonParser.parseString(utf8(bytes) ?: refuse("manifest.json is not UTF-8 text; convert again"))
            } catch (_: JsonParseException) {
                refuse("manifest.json is not JSON; copy the whole bundle again or convert again")
            }
            return of(document)
        }

        fun of(document: JsonElement): Json {
            if (!document.isJsonObject) refuse("manifest.json is not the manifest of a bundle; convert again")
            return Json(document, "")
        }

        /** The object behind a value, of which `Schema1` makes another. */
        fun objectOf(json: Json): JsonObject = (json.element as? JsonObject) ?: json.wrong("an object")
    }
}
