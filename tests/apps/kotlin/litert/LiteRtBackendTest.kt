package edgevit.app

import com.google.ai.edge.litert.closed
import com.google.ai.edge.litert.given
import edgevit.core.MadeBundle
import edgevit.core.Refused
import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** 3 x 4 x 4 values: 192 bytes of floats, or 48. */
class LiteRtBackendTest {
    private fun opened(bytes: Int, ofBytes: Boolean): LiteRtBackend {
        val file = File.createTempFile("model", ".tflite").apply { writeText("$bytes") }
        return LiteRtBackend(file, MadeBundle().apply { if (ofBytes) takeBytes() }.open().manifest)
    }

    @Test
    fun aModelOfTheManifestsTypeIsRun() {
        for (bytes in listOf(192, 256)) { // as it is, and rounded up
            val floats = FloatArray(48)
            assertEquals(2, opened(bytes, ofBytes = false).run(floats).size)
            assertSame(floats, given)
        }
        for (bytes in listOf(48, 64)) {
            val values = ByteArray(48)
            assertEquals(2, opened(bytes, ofBytes = true).run(values).size)
            assertSame(values, given)
        }
    }

    @Test
    fun aModelOfAnotherTypeOrSizeIsRefusedAndClosed() {
        for ((bytes, ofBytes) in listOf(48 to false, 191 to false, 768 to false, 192 to true, 47 to true, 12 to true)) {
            closed = 0
            val line = assertThrows(Refused::class.java) { opened(bytes, ofBytes) }.message!!
            assertTrue(line, line.startsWith("the model's input has $bytes bytes, and the manifest says ${if (ofBytes) 48 else 192}"))
            assertEquals("the model and its two buffers", 3, closed)
        }
    }
}
