package edgevit.app

import android.app.ActivityManager
import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import android.net.Uri
import android.os.Build
import androidx.exifinterface.media.ExifInterface
import edgevit.core.Picture
import edgevit.core.refuse
import edgevit.core.shown
import edgevit.core.upright
import java.io.IOException

private const val MAX_PIXELS = 1L shl 28

/** A picture of the gallery, upright: its pixels as they are stored, until it is closed, and a small copy for the screen. */
class Photograph(private val bitmap: Bitmap, orientation: Int) : AutoCloseable {
    val picture = upright(BitmapPicture(bitmap), orientation)
    val preview = preview(bitmap, orientation)

    override fun close() = bitmap.recycle()
}

/** Decodes a picture; refused where it is none. */
fun decode(context: Context, uri: Uri): Photograph {
    try {
        val content = context.contentResolver
        val size = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        content.openInputStream(uri).use { BitmapFactory.decodeStream(it, null, size) }
        val pixels = size.outWidth.toLong() * size.outHeight
        if (pixels > MAX_PIXELS) refuse("the picture has more than $MAX_PIXELS pixels; make it smaller")
        if (4 * pixels > free(context)) refuse(TOO_LARGE)
        val bitmap = content.openInputStream(uri).use { BitmapFactory.decodeStream(it, null, asStored()) }
            ?: refuse("the file cannot be read as a picture; choose a JPEG or PNG")
        val orientation = content.openInputStream(uri).use { stream ->
            stream?.let { ExifInterface(it).getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL) }
        }
        return Photograph(opaque(withoutProfile(bitmap)), orientation ?: ExifInterface.ORIENTATION_NORMAL)
    } catch (error: IOException) {
        refuse("the file cannot be read (${shown(error.message ?: "no reason given")}); choose another one")
    } catch (_: OutOfMemoryError) {
        refuse(TOO_LARGE)
    }
}

private const val TOO_LARGE = "the picture is too large for this device's memory; make it smaller"

/** Pixels lie outside of Java's heap: where memory for them is lacking, no error is thrown, and the system ends the app. */
private fun free(context: Context): Long {
    val memory = ActivityManager.MemoryInfo()
    context.getSystemService(ActivityManager::class.java).getMemoryInfo(memory)
    return memory.availMem
}

/**
 * Eight bits a channel, no scaling, and the colours of transparent pixels as they are.
 *
 * `ImageDecoder` would turn the picture by itself, so that `core` could not.
 */
private fun asStored() = BitmapFactory.Options().apply {
    inPreferredConfig = Bitmap.Config.ARGB_8888
    inPremultiplied = false
    inScaled = false
}

/** The network was trained on colours as files store them; without this `getPixels` would apply a wide gamut's profile. */
private fun withoutProfile(bitmap: Bitmap): Bitmap {
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) bitmap.setColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
    return bitmap
}

/** For the screen, which draws no transparent pixels whose colours are not multiplied by it; no colour is changed. */
private fun opaque(bitmap: Bitmap): Bitmap = bitmap.apply { setHasAlpha(false) }

/** A bitmap that is not on the GPU, read a line at a time. */
class BitmapPicture(private val bitmap: Bitmap) : Picture {
    override val width get() = bitmap.width
    override val height get() = bitmap.height

    override fun row(y: Int, into: IntArray) = bitmap.getPixels(into, 0, width, 0, y, width, 1)

    override fun column(x: Int, into: IntArray) = bitmap.getPixels(into, 0, 1, x, 0, 1, height)
}

private const val PREVIEW_SIDE = 1024

/** For the screen, which has no use for all of a photograph; the network gets the pixels above. */
private fun preview(bitmap: Bitmap, orientation: Int): Bitmap {
    val scale = minOf(1.0, PREVIEW_SIDE.toDouble() / maxOf(bitmap.width, bitmap.height))
    val (width, height) = listOf(bitmap.width, bitmap.height).map { maxOf(1, (it * scale).toInt()) }
    val small = Bitmap.createScaledBitmap(bitmap, width, height, true)
    val turned = upright(BitmapPicture(small), orientation)
    val row = IntArray(turned.width)
    val result = Bitmap.createBitmap(turned.width, turned.height, Bitmap.Config.ARGB_8888)
    for (y in 0 until turned.height) {
        turned.row(y, row)
        result.setPixels(row, 0, turned.width, 0, y, turned.width, 1)
    }
    return result
}
