package edgevit.core

import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val MANIFEST = "manifest.json"
private const val MAX_MANIFEST_BYTES = 4 shl 20
private const val MAX_LABELS_BYTES = 1L shl 26

/** A bundle of edgevit-deploy. Nothing that it says is believed before it is checked. */
class Bundle private constructor(private val files: Files, val manifest: Manifest, val labels: List<String>) {
    /** Golden inputs, and what the network must make of each. */
    fun golden(): List<Pair<Planes, FloatArray>> {
        val input = manifest.goldenInput
        val inputs = if (manifest.takes == Takes.UINT8) bytes(input).map(Planes::Bytes) else floats(input).map(Planes::Floats)
        return inputs.zip(floats(manifest.goldenOutput))
    }

    /** Copies the model out of the app, since runtimes load it by its path; returns where it is. */
    fun copyModel(folder: File): File {
        folder.deleteRecursively() // what an older app left there
        for (file in manifest.model) {
            val copy = File(folder, file.path)
            copy.parentFile?.mkdirs()
            try {
                copy.outputStream().use { files.copy(file, it) }
            } catch (error: IOException) {
                refuse("this device has no room for the model (${reason(error)}); make room, and replay the golden data")
            }
        }
        return File(folder, manifest.path)
    }

    private fun bytes(array: GoldenArray): List<ByteArray> {
        val bytes = files.read(array.file)
        return List(array.count) { bytes.copyOfRange(it * array.each, (it + 1) * array.each) }
    }

    private fun floats(array: GoldenArray): List<FloatArray> {
        val buffer = ByteBuffer.wrap(files.read(array.file)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        val examples = List(array.count) { FloatArray(array.each).also(buffer::get) }
        if (examples.any { example -> example.any { !it.isFinite() } }) {
            refuse("${shown(array.file.path)} holds numbers that are not finite, which prove nothing; convert again")
        }
        return examples
    }

    companion object {
        /** Reads a bundle; `Refused` where it is for another runtime, damaged, or says what no bundle says. */
        fun open(files: Files, target: String): Bundle {
            val manifest = Manifest.read(manifestBytes(files))
            if (manifest.target != target) {
                refuse(
                    "the bundle is for ${shown(manifest.target)}, and this app was built for $target; " +
                        "write the app again: convert.py app android BUNDLE",
                )
            }
            return Bundle(files, manifest, labels(files, manifest))
        }

        private fun manifestBytes(files: Files): ByteArray {
            val bytes = ByteArray(MAX_MANIFEST_BYTES + 1)
            var read = 0
            try {
                files.open(MANIFEST).use { file ->
                    while (read < bytes.size) {
                        val count = file.read(bytes, read, bytes.size - read)
                        if (count < 0) break
                        read += count
                    }
                }
            } catch (_: IOException) {
                refuse("this app has no bundle ($MANIFEST cannot be read); write the app with convert.py app android BUNDLE")
            }
            if (read > MAX_MANIFEST_BYTES) refuse("$MANIFEST is larger than any; convert again")
            return bytes.copyOf(read)
        }

        private fun labels(files: Files, manifest: Manifest): List<String> {
            val name = shown(manifest.labels.path)
            if (manifest.labels.bytes > MAX_LABELS_BYTES) refuse("$name is larger than any list of labels; convert again")
            val text = utf8(files.read(manifest.labels)) ?: refuse("$name is not UTF-8 text; convert again")
            val lines = text.removeSuffix("\n").split("\n").map { shown(it) }
            val count = lines.size
            if (count != manifest.classes) refuse("$name has $count labels for ${manifest.classes} classes; convert again")
            return lines
        }
    }
}
