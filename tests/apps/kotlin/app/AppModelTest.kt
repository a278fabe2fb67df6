package edgevit.app

import android.app.ActivityManager
import android.app.Application
import android.content.res.AssetManager
import android.graphics.Bitmap
import android.net.Uri
import edgevit.core.Backend
import edgevit.core.MadeBundle
import edgevit.core.Manifest
import edgevit.core.Vectors
import edgevit.core.put
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import java.io.File

const val TARGET = "onnx"

/** What the runtime makes of an input; each test may have it another way. */
private var computed: (FloatArray) -> FloatArray = { FloatArray(3) }

fun openBackend(model: File, manifest: Manifest): Backend = object : Backend {
    override val name = "a runtime of ${manifest.target} with ${model.name}"

    override fun run(input: FloatArray) = computed(input)

    override fun close() = Unit
}

/** What the app shows, from one thing that is asked of it to the next. */
class AppModelTest {
    private val made = MadeBundle()

    @Before
    fun aGoodBundle() {
        made.record()
        AssetManager.opener = { made.open(it) }
        computed = ::right
        ActivityManager.free = 1L shl 30
    }

    private fun right(input: FloatArray) = if (input[0] == 0f) floatArrayOf(1f, 2f, 3f) else floatArrayOf(-4f, 5f, -6f)

    private fun started() = AppModel(Application()).also(::done)

    private fun done(model: AppModel) = model.worker.submit {}.get()

    private fun choose(model: AppModel, picture: String = "8 8") {
        model.choose(Uri(picture.toByteArray()))
        done(model)
    }

    private fun look(model: AppModel) = model.worker.submit {
        model.look(Bitmap.createBitmap(8, 8, Bitmap.Config.ARGB_8888), 90)
    }.get()

    private fun failing(model: AppModel, said: String) {
        assertFalse(model.goldenPassed)
        assertTrue(model.golden, model.golden!!.startsWith("Golden data FAILED: ") && said in model.golden!!)
    }

    @Test
    fun goldenDataThatPassAreSaidTo() {
        val model = started()
        assertTrue(model.goldenPassed)
        assertTrue(model.golden, model.golden!!.startsWith("Golden data passed: largest error 0.00e+00"))
        assertNull(model.problem)
    }

    @Test
    fun aReplayThatIsRefusedStaysOnTheScreen() {
        val spoiled = mapOf<String, () -> Unit>(
            "golden/output.f32 was changed" to { made.content["golden/output.f32"]!![3] = 9 },
            "no bound can grow with that" to {
                made.content["golden/output.f32"] = Vectors.bytes(FloatArray(6) { 2e6f })
                made.record()
            },
            "stopped by java.lang.IllegalStateException: of the runtime" to {
                computed = { if (it[0] == 0f) error("of the runtime") else right(it) }
            },
        )
        for ((said, spoil) in spoiled) {
            aGoodBundle()
            spoil()
            val model = started()
            failing(model, said)
            computed = ::right
            choose(model)
            assertNotNull(model.answer)
            assertNull(model.problem)
            failing(model, said)
            model.startCamera()
            look(model)
            failing(model, said)
            made.content["golden/output.f32"] = MadeBundle().content["golden/output.f32"]!!
        }
    }

    @Test
    fun aReplayThatFailsTakesThePassedOneAway() {
        val model = started()
        assertTrue(model.goldenPassed)
        for (fault in listOf<() -> Nothing>({ error("no") }, { throw OutOfMemoryError() }, { throw UnsatisfiedLinkError() })) {
            computed = { fault() }
            model.replayGolden()
            done(model)
            failing(model, "")
            computed = ::right
            model.replayGolden()
            done(model)
            assertTrue(model.goldenPassed)
        }
    }

    @Test
    fun whatIsNotThePicturesFaultIsNotSaidOfPictures() {
        computed = { throw OutOfMemoryError() }
        val model = started()
        failing(model, "not enough memory on this device")
        assertFalse("picture" in model.golden!!)
        computed = { throw StackOverflowError() }
        model.replayGolden()
        done(model)
        failing(model, "nested too deeply")
    }

    @Test
    fun aBundleThatIsRefusedIsRefusedEachTime() {
        made.manifest.put("target", "\"litert\"")
        val model = started()
        failing(model, "the bundle is for litert")
        choose(model)
        assertTrue(model.problem, "the bundle is for litert" in model.problem!!)
        assertNull(model.answer)
    }

    @Test
    fun anAnswerStandsUnderItsOwnPicture() {
        val model = started()
        choose(model)
        val (first, answer) = model.preview to model.answer
        assertNotNull(answer)
        var meanwhile: Answer? = answer
        computed = { meanwhile = model.answer; right(it) }
        choose(model, "9 9")
        assertTrue(model.preview !== first)
        assertNull(meanwhile)
        assertNotNull(model.answer)
        computed = { FloatArray(3) { Float.NaN } }
        choose(model, "8 9")
        assertNull(model.answer)
        assertTrue(model.problem, "not finite" in model.problem!!)
    }

    @Test
    fun aPictureThatIsNoneLeavesTheOneBeforeWithItsAnswer() {
        val model = started()
        choose(model)
        val before = model.preview to model.answer
        choose(model, "no picture")
        assertTrue(model.problem, "cannot be read as a picture" in model.problem!!)
        assertEquals(before, model.preview to model.answer)
    }

    @Test
    fun whatTheCameraSawGoesWithIt() {
        val model = started()
        choose(model)
        model.startCamera()
        assertNull(model.preview)
        assertNull(model.answer)
        look(model)
        assertNotNull(model.answer)
        model.stopCamera()
        assertNull(model.answer)
        look(model) // was under way
        assertNull(model.answer)
        model.startCamera()
        look(model)
        computed = { FloatArray(3) { Float.NaN } }
        look(model)
        assertNull(model.answer)
        assertNotNull(model.problem)
        computed = { model.stopCamera(); right(it) }
        look(model)
        assertNull(model.answer)
    }

    @Test
    fun aPhotographLiesInMemoryOnceAndNotForLong() {
        val model = started()
        Bitmap.held = 0
        Bitmap.most = 0
        choose(model, "4000 3000")
        assertNotNull(model.answer)
        val whole = 4L * 4000 * 3000
        assertTrue("${Bitmap.most} of $whole", Bitmap.most in whole until whole * 3 / 2)
        assertTrue("${Bitmap.held} of $whole", Bitmap.held < whole / 4)
    }

    @Test
    fun aPhotographThatHasNoRoomIsNotDecoded() {
        val model = started()
        ActivityManager.free = 4L * 400 * 300 - 1
        Bitmap.most = 0
        choose(model, "400 300")
        assertTrue(model.problem, "too large for this device's memory" in model.problem!!)
        ActivityManager.free++
        choose(model, "400 300")
        assertNull(model.problem)
        choose(model, "32768 8193")
        assertTrue(model.problem, "has more than" in model.problem!!)
    }
}
