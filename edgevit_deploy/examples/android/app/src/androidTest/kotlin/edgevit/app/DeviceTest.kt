package edgevit.app

import android.util.Log
import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import edgevit.core.Vectors
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** On this device, in this runtime: the golden data are reproduced, and preprocessing differs from Pillow by nothing. */
@RunWith(AndroidJUnit4::class)
class DeviceTest {
    private val instrumentation = InstrumentationRegistry.getInstrumentation()

    @Test
    fun goldenDataAreReproduced() {
        val verdict = Network.open(instrumentation.targetContext).use { it.replayGolden() }
        Log.i("edgevit", verdict.line)
        assertTrue(verdict.line, verdict.passed)
    }

    @Test
    fun preprocessingIsPillows() {
        val bytes = instrumentation.context.assets.open("vectors.json").use { it.readBytes() }
        for (tally in Vectors(bytes).all()) {
            Log.i("edgevit", tally.toString())
            assertTrue(tally.toString(), tally.holds)
        }
    }
}
