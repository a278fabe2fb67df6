package androidx.exifinterface.media

import java.io.InputStream

class ExifInterface(@Suppress("unused") private val stream: InputStream) {
    fun getAttributeInt(@Suppress("unused") tag: String, otherwise: Int): Int = otherwise

    companion object {
        const val TAG_ORIENTATION = "Orientation"
        const val ORIENTATION_NORMAL = 1
    }
}
