package edgevit.core

import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.security.MessageDigest

/** Where a bundle lies: the assets of an app, or a folder. Paths are those of the manifest, and were checked before. */
interface Files {
    /** Opens a file; `IOException` where there is none. */
    fun open(path: String): InputStream
}

/** A bundle in a folder. */
class Folder(private val root: File) : Files {
    override fun open(path: String): InputStream {
        val file = File(root, path)
        val inside = file.canonicalPath.startsWith(root.canonicalPath + File.separator) // a link could lead out
        if (!inside || !file.isFile) throw IOException("no file of the bundle")
        return file.inputStream()
    }
}

/** One file of a bundle, as its manifest records it. */
class Recorded(val path: String, val sha256: String, val bytes: Long)

/** Copies a recorded file, and refuses it at the first byte too many, or when its hash is another one; `IOException` of `to`. */
fun Files.copy(recorded: Recorded, to: OutputStream) {
    val name = shown(recorded.path)
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(1 shl 16)
    var read = 0L
    readable(name) { open(recorded.path) }.use { file ->
        while (true) {
            val count = readable(name) { file.read(buffer) }
            if (count < 0) break
            read += count
            if (read > recorded.bytes) break
            digest.update(buffer, 0, count)
            to.write(buffer, 0, count)
        }
    }
    if (read != recorded.bytes) refuse("$name has not the ${recorded.bytes} bytes of its record; copy the whole bundle again")
    if (hex(digest.digest()) != recorded.sha256) {
        refuse("$name was changed since the bundle was written (another sha256); copy it again or convert again")
    }
}

private inline fun <T> readable(name: String, reading: () -> T): T = try {
    reading()
} catch (error: IOException) {
    refuse("$name of the bundle cannot be read (${reason(error)}); copy the whole bundle again")
}

internal fun reason(error: IOException): String = shown(error.message ?: "no reason given")

/** Reads a recorded file whole. */
fun Files.read(recorded: Recorded): ByteArray =
    ByteArrayOutputStream(minOf(recorded.bytes, 1L shl 24).toInt()).also { copy(recorded, it) }.toByteArray()

/** Lower-case hexadecimal digits; `java.util.HexFormat` is newer than the oldest Android here. */
fun hex(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }

/** The SHA-256 of some bytes, in hexadecimal. */
fun sha256(bytes: ByteArray): String = hex(MessageDigest.getInstance("SHA-256").digest(bytes))
