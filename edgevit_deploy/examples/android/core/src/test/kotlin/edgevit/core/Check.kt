package edgevit.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Says what this code makes of a bundle in a folder: `Check TARGET BUNDLE OUTPUTS`, one `name: value` a line.
 *
 * OUTPUTS are float32, for each golden input, as any runtime made them: their verdict must be the one that others reach.
 */
fun main(arguments: Array<String>) {
    val (target, folder, outputs) = arguments
    try {
        val bundle = Bundle.open(Folder(File(folder)), target)
        val manifest = bundle.manifest
        val buffer = ByteBuffer.wrap(File(outputs).readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        val golden = bundle.golden().map { it.second }
        val verdict = verdict(manifest, golden, golden.map { FloatArray(it.size).also(buffer::get) })
        println("labels: ${bundle.labels.size}")
        println("model: ${manifest.model.joinToString { it.path }}")
        println("error: ${verdict.error}")
        println("bound: ${verdict.bound}")
        println("verdict: ${verdict.line}")
        println("banner: ${banner(manifest) ?: "none"}")
        println("first: ${golden.map { guesses(it, bundle.labels, manifest.returnsProbabilities)[0].label }}")
    } catch (refused: Refused) {
        println("refused: ${refused.message}")
    }
}
