package edgevit.core

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction

/** Text of UTF-8 bytes; null where they are none. `String(bytes)` would put question marks in place of what it cannot read. */
fun utf8(bytes: ByteArray): String? = try {
    val strict = Charsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.REPORT)
    strict.decode(ByteBuffer.wrap(bytes)).toString()
} catch (_: CharacterCodingException) {
    null
}
