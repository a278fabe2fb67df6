package edgevit.core

import kotlin.math.sqrt

private const val Z_95 = 1.959963984540054

/** What the bundle says was proven of its file, for the screen: null where everything was, else a line that stays there. */
fun banner(manifest: Manifest): String? {
    val decisions = manifest.decisions
    return when {
        !bornOut(manifest) -> "UNPROVEN: the bundle's own comparisons failed"
        manifest.status != "passed" -> "UNPROVEN: the bundle says of its file: ${manifest.status}"
        decisions != null && lowest(decisions) < decisions.minAgreement ->
            "UNPROVEN: its first class is the network's on only ${decisions.agreeing} of ${decisions.pictures} pictures"
        manifest.quantised && decisions == null ->
            "Decisions not judged: the file computes what it should, and nobody counted how often it decides as its network"
        else -> null
    }
}

/** Whether the comparisons are what the status says of them. */
private fun bornOut(manifest: Manifest) =
    manifest.diffs.none { it.error > it.atol } && (manifest.status != "passed" || manifest.diffs.isNotEmpty())

/** The lower end of the 95 % interval of the agreement (Wilson's score interval). */
internal fun lowest(decisions: Decisions): Double {
    val count = decisions.pictures.toDouble()
    if (decisions.agreeing == 0L) return 0.0
    val share = decisions.agreeing / count
    val spread = Z_95 * Z_95 / count
    val middle = (share + spread / 2) / (1 + spread)
    val half = sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return maxOf(0.0, middle - half)
}
