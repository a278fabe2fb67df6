package edgevit.core

import kotlin.math.sqrt

private const val Z_95 = 1.959963984540054

/** What the bundle says was proven of its file, for the screen: null where everything was, else a line that stays there. */
fun banner(manifest: Manifest): String? {
    val decisions = manifest.decisions
    return when {
        !bornOut(manifest) -> "UNPROVEN: the bundle's own comparisons failed"
        manifest.status != "passed" -> "UNPROVEN: the bundle says of its file: ${manifest.status}"
        decisions != null && failed(decisions) ->
            "UNPROVEN: its first class is the network's on only ${decisions.agreeing} of ${decisions.pictures} pictures"
        !manifest.quantised -> null
        decisions == null ->
            "Decisions not judged: the file computes what it should, and nobody counted how often it decides as its network"
        !enough(decisions) ->
            "Decisions judged on a sample: the file computes what it should, and ${decisions.pictures} pictures are too few to " +
                "show or rule out that it decides as its network"
        else -> null
    }
}

/** Whether the comparisons are what the status says of them. */
private fun bornOut(manifest: Manifest) =
    manifest.diffs.none { it.error > it.atol } && (manifest.status != "passed" || manifest.diffs.isNotEmpty())

/** Whether the whole interval of the agreement is above what was asked for. */
private fun enough(decisions: Decisions) = interval(decisions).start >= decisions.minAgreement

/** Pictures that had to be drawn may be too few to show what was asked for; then they must not rule it out. */
private fun failed(decisions: Decisions): Boolean =
    if (decisions.drawn) interval(decisions).endInclusive < decisions.minAgreement else !enough(decisions)

/** The 95 % interval of the agreement (Wilson's score interval); all there is where nothing was judged. */
internal fun interval(decisions: Decisions): ClosedFloatingPointRange<Double> {
    if (decisions.pictures == 0L) return 0.0..1.0
    val count = decisions.pictures.toDouble()
    val share = decisions.agreeing / count
    val spread = Z_95 * Z_95 / count
    val middle = (share + spread / 2) / (1 + spread)
    val half = sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    val low = if (decisions.agreeing == 0L) 0.0 else maxOf(0.0, middle - half)
    return low..(if (decisions.agreeing == decisions.pictures) 1.0 else minOf(1.0, middle + half))
}
