package edgevit.core

/** What a bundle or a picture is refused for: one line that says what was found, what was expected and what to do. */
class Refused(message: String) : Exception(message)

fun refuse(line: String): Nothing = throw Refused(line)

private const val LONGEST = 200

/**
 * Text of a stranger as one line that can be shown: what a screen would obey is dropped, and it is not endless.
 *
 * Compose and a terminal show text as text, so markup needs no care; controls do, and marks that turn the direction of text.
 */
fun shown(text: String): String {
    val kept = text.filterNot { it.isISOControl() || it.category == CharCategory.FORMAT || it == '\u2028' || it == '\u2029' }
    return if (kept.length <= LONGEST) kept else kept.take(LONGEST) + "..."
}
