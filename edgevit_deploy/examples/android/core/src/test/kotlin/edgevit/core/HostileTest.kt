package edgevit.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.io.IOException
import java.io.OutputStream
import java.nio.file.Files as Paths

/** Bundles of strangers: each is refused with one line that says what is wrong, or its text is shown as text. */
class HostileTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private fun refused(said: String, spoil: MadeBundle.() -> Unit) {
        val bundle = MadeBundle().apply(spoil)
        val line = assertThrows(said, Refused::class.java) { bundle.open().golden() }.message!!
        assertTrue("'$line' should say '$said'", said in line)
        assertFalse(line, line.any { it.isISOControl() })
    }

    private fun refusedWith(path: String, json: String, said: String) = refused(said) {
        record()
        manifest.put(path, json)
    }

    @Test
    fun theGoodOneIsRead() {
        val bundle = MadeBundle().open()
        assertEquals(listOf("cat", "dog", "horse"), bundle.labels)
        assertEquals(2, bundle.golden().size)
        assertEquals(-6f, bundle.golden()[1].second[2])
        assertEquals(listOf(1L, 3L, 4L, 4L), bundle.manifest.inputShape.toList())
    }

    @Test
    fun freeAxesAreTheOnesOfThePreprocessing() {
        val made = MadeBundle()
        made.manifest.put("inputs.0.shape", """["batch", 3, "height", "width"]""")
        made.manifest.put("outputs.0.shape", """["batch", 3]""")
        assertEquals(Size(4, 4), made.open().manifest.size)
    }

    @Test
    fun theManifestItself() {
        refusedWith("schema_version", "3", "schema_version 3, and")
        refusedWith("schema_version", "\"2\"", "schema_version is not a finite number")
        refusedWith("schema_version", "null", "no schema_version")
        refusedWith("target", "\"coreml\"", "the bundle is for coreml, and this app was built for onnx")
        refusedWith("parity.diffs.1.tolerance.atol", "\"wide\"", "parity.diffs[1].tolerance.atol is not a finite number")
        refusedWith("precision", "\"fp4\"", "precision is not one of fp32, fp16, bf16, int8, int8-dynamic, fp8, w8, palette8")
        for (least in listOf("0", "-1", "1", "1e9")) {
            val decisions = """{"pictures": 10, "agreeing": 0, "min_agreement": $least}"""
            refusedWith("decisions", decisions, "decisions.min_agreement is not between 0 and 1")
        }
        val drawn = """{"pictures": 10, "agreeing": 0, "min_agreement": 0.98, "sample": {"of": 9}}"""
        refusedWith("decisions", drawn, "decisions.sample.of is not a whole number from 10")
        val tried = """{"pictures": 10, "agreeing": 0, "min_agreement": 0.98, "broken": 3, "sample": {"of": 12}}"""
        refusedWith("decisions", tried, "decisions.sample.of is not a whole number from 13")
        refusedWith("decisions", tried.replace("3", "-1"), "decisions.broken is not a whole number from 0")
        refusedWith("conversion.returns", "\"features\"", "conversion.returns is not one of logits, probabilities")
        for (text in listOf("", "[", "[]", "{\"schema_version\": 2", "[".repeat(100_000), "\u0000")) {
            val files = object : Files {
                override fun open(path: String) = text.toByteArray().inputStream()
            }
            assertThrows(Refused::class.java) { Bundle.open(files, "onnx") }
        }
        val endless = object : Files {
            override fun open(path: String) = object : java.io.InputStream() {
                override fun read() = '['.code
            }
        }
        assertTrue("larger than any" in assertThrows(Refused::class.java) { Bundle.open(endless, "onnx") }.message!!)
    }

    /** What nobody reads may be as deep as it likes; a newer reader of JSON refuses it, and no reader ends the app. */
    @Test
    fun bracketsThatAreClosed() {
        val deep = "[".repeat(500_000) + "]".repeat(500_000)
        for (spoil in listOf<MadeBundle.() -> Unit>({ record() }, { asSchemaOne() })) {
            val made = MadeBundle().apply(spoil)
            val whole = made.manifest.toString()
            for ((before, after) in listOf("{\"schema_version\"" to "{", "\"status\"" to "", "\"max_abs\"" to "")) {
                val name = before.removePrefix("{")
                assertTrue(before in whole)
                val text = whole.replaceFirst(before, "$after\"strange\": $deep, $name")
                val files = object : Files {
                    override fun open(path: String) =
                        if (path == "manifest.json") text.toByteArray().inputStream() else made.open(path)
                }
                try {
                    assertEquals(3, Bundle.open(files, "onnx").labels.size)
                } catch (refused: Refused) {
                    assertTrue(refused.message, "is not JSON" in refused.message!!)
                }
            }
        }
    }

    @Test
    fun pathsThatLeadOut() {
        val climbing = listOf("../model.onnx", "a/../../b", "a\\\\..\\\\b", ".", "a//b", "a/./b")
        for (path in climbing + listOf("/etc/passwd", "C:/model.onnx", "", "a\\u0000b")) {
            refusedWith("path", "\"$path\"", "leads out of the bundle")
            refusedWith("labels.path", "\"$path\"", "leads out of the bundle")
            refusedWith("golden.input.path", "\"$path\"", "leads out of the bundle")
            refusedWith("files.0.path", "\"$path\"", "leads out of the bundle")
        }
        refusedWith("path", "\"other.onnx\"", "not among its files")
        refusedWith("path", "\"model\"", "not among its files")
        refusedWith("labels.path", "\"other.txt\"", "not among its files")
        refusedWith("golden.outputs.0.path", "\"golden/other.f32\"", "not among its files")
    }

    @Test
    fun bytesWhereFloatsShouldBe() {
        val dtype = "inputs[0].dtype is not"
        refusedWith("inputs.0.dtype", "\"uint8\"", dtype)
        refusedWith("conversion.takes", "\"uint8\"", dtype)
        refused(dtype) { takeBytes(); manifest.put("conversion.takes", "\"image\"") }
        refused("a file of 96 bytes") { takeBytes(); content["golden/input.u8"] = ByteArray(384) }
        refusedWith("conversion.takes", "\"int8\"", "conversion.takes is not")
    }

    @Test
    fun filesThatAreNotThoseRecorded() {
        refused("labels.txt was changed") { record(); content["labels.txt"] = "cat\nDOG\nhorse\n".toByteArray() }
        refused("labels.txt has not the 14 bytes") { record(); content["labels.txt"] = "cat\n".toByteArray() }
        refused("labels.txt has not the 14 bytes") { record(); content["labels.txt"] = ByteArray(1 shl 20) }
        refused("golden/output.f32 was changed") { record(); content["golden/output.f32"]!![3] = 9 }
        refused("cannot be read") { record(); content.remove("golden/input.f32") }
        refused("recorded once") { record(); manifest["files"].asJsonArray.add(manifest["files"].asJsonArray[0]) }
        refusedWith("files.0.bytes", "-1", "files[0].bytes is not a whole number")
        refusedWith("files.0.bytes", "1e300", "files[0].bytes is not a whole number")
        refusedWith("files.0.sha256", "\"short\"", "files[0].sha256 is not a hash")
    }

    @Test
    fun aModelThatWasChangedIsNotCopied() {
        val made = MadeBundle()
        val bundle = made.open()
        assertEquals(3, bundle.copyModel(temporary.newFolder()).length())
        made.content["model.onnx"] = byteArrayOf(1, 2, 4)
        assertThrows(Refused::class.java) { bundle.copyModel(temporary.newFolder()) }
    }

    /** A full device is no fault of the bundle. */
    @Test
    fun aModelThatHasNoRoomIsNotOneThatCannotBeRead() {
        val made = MadeBundle()
        val bundle = made.open()
        val full = object : OutputStream() {
            override fun write(byte: Int) = throw IOException("No space left on device")
        }
        assertThrows(IOException::class.java) { made.copy(bundle.manifest.model[0], full) }
        val nowhere = File(temporary.newFile("file"), "model")
        val line = assertThrows(Refused::class.java) { bundle.copyModel(nowhere) }.message!!
        assertTrue(line, line.startsWith("this device has no room for the model ("))
    }

    @Test
    fun shapesThatAreAbsurdOrDisagree() {
        refusedWith("inputs.0.shape", "[1, 3, 8, 8]", "inputs[0].shape is not 1 x 3 x 4 x 4")
        refusedWith("inputs.0.shape", "[4, 3, 4, 4]", "inputs[0].shape is not 1 x 3 x 4 x 4")
        refusedWith("inputs.0.shape", "[1, \"colours\", 4, 4]", "inputs[0].shape is not 1 x 3 x 4 x 4")
        refusedWith("inputs.0.shape", "[1, 3, 4, 1e18]", "is not a whole number")
        refusedWith("inputs.0.dtype", "\"uint8\"", "inputs[0].dtype is not one of float32")
        refusedWith("inputs", "[]", "inputs is not a list with one input")
        refusedWith("outputs.0.shape", "[1, 1000001]", "outputs[0].shape[1] is not a whole number from 1 to 1000000")
        refusedWith("outputs.0.shape", "[1, 4]", "labels.count is not 4")
        refusedWith("preprocess.crop", "[8193, 8193]", "preprocess.crop[0] is not a whole number from 1 to 8192")
        refusedWith("preprocess.crop", "[6, 6]", "preprocess.crop is not within the resized picture")
        refusedWith("preprocess.std", "[0, 1, 1]", "preprocess.std is not above 0")
        refusedWith("preprocess.mean", "[1e999, 0, 0]", "preprocess.mean[0] is not a finite number")
        refusedWith("preprocess.fit", "\"letterbox\"", "preprocess.fit is not one of cover, stretch")
        refusedWith("preprocess.fit", "\"pad\"", "preprocess.fit is not one of cover, stretch")
        refusedWith("preprocess.color_order", "\"BGR\"", "preprocess.color_order is not one of RGB")
        refusedWith("golden.input.shape", "[1, 3, 4, 4]", "golden.input.path is not a file of 192 bytes")
        refusedWith("golden.input.shape", "[2, 3, 8, 8]", "golden.input.shape is not some examples of 3 x 4 x 4")
        refusedWith("golden.outputs.0.name", "\"other\"", "golden is not of the output logits")
        refused("golden is not as many inputs as outputs") {
            content["golden/output.f32"] = Vectors.bytes(FloatArray(3))
            manifest.put("golden.outputs.0.shape", "[1, 3]")
        }
        refused("holds numbers that are not finite") { content["golden/output.f32"] = Vectors.bytes(FloatArray(6) { Float.NaN }) }
    }

    /** A right answer to the golden inputs of a bundle, that is off by a share of the largest. */
    private fun replayed(share: Float, vararg changes: Pair<String, String>): GoldenVerdict {
        val bundle = MadeBundle().apply { changes.forEach { (path, json) -> manifest.put(path, json) } }.open()
        val expected = bundle.golden().map { it.second }
        val outputs = expected.map { it.copyOf() }.also { it[0][0] += share * 6f }
        return verdict(bundle.manifest, expected, outputs)
    }

    @Test
    fun aBundleGrantsItselfNoBound() {
        val wide = "parity.diffs.1.tolerance.atol" to "1e30"
        val rms = """{"output": "logits", "image_size": [4, 4], "max_abs": 0.0001, "rms": 0.0001,
            "tolerance": {"atol": 1e30, "measure": "rms"}}"""
        for ((precision, allowed) in mapOf("fp32" to 1e-4f, "fp16" to 0.2f, "bf16" to 1f)) {
            for (change in listOf(wide, "parity.diffs.1" to rms)) {
                val named = "precision" to "\"$precision\""
                assertTrue(replayed(0.9f * allowed, named, change).passed)
                val verdict = replayed(1.1f * allowed, named, change)
                assertTrue(verdict.line, verdict.line.startsWith("FAILED: largest error"))
            }
        }
        for (precision in QUANTISED) { // one of six outputs is off; all of their root mean square, sqrt(91 / 6), is allowed
            val named = "precision" to "\"$precision\""
            assertTrue(replayed(1.55f, named, wide).passed)
            assertTrue(replayed(1.65f, named, wide).line.startsWith("FAILED: root mean square error"))
        }
    }

    @Test
    fun theMeasureIsNotTheBundlesToChoose() {
        val rms = """{"output": "logits", "image_size": [4, 4], "max_abs": 0.0001, "rms": 0.0001,
            "tolerance": {"atol": 0.0001, "measure": "rms"}}"""
        val verdict = replayed(0.00002f, "parity.diffs.1" to rms) // 1.2e-4, but 4.9e-5 as root of the mean square
        assertTrue(verdict.line, verdict.line.startsWith("FAILED: largest error 1.2"))
        val largest = "parity.diffs.1.tolerance.atol" to "0.0002"
        assertTrue(replayed(0.00007f, largest, "precision" to "\"int8\"").passed) // 4.2e-4, and 1.7e-4
    }

    @Test
    fun goldenOutputsHaveASize() {
        val bundle = MadeBundle().apply { content["golden/output.f32"] = Vectors.bytes(FloatArray(6) { 2e6f }) }.open()
        val expected = bundle.golden().map { it.second }
        val line = assertThrows(Refused::class.java) { verdict(bundle.manifest, expected, expected) }.message!!
        assertTrue(line, "no bound can grow with that" in line)
    }

    @Test
    fun labelsAreText() {
        val made = MadeBundle()
        made.content["labels.txt"] = "<b onclick=\"x()\">cat</b>\n\u001b[31mdog\u0007\u202e\r\n${"x".repeat(300)}\n".toByteArray()
        val labels = made.open().labels
        assertEquals("<b onclick=\"x()\">cat</b>", labels[0])
        assertEquals("[31mdog", labels[1])
        assertEquals(203, labels[2].length)
        refused("is not UTF-8 text") { content["labels.txt"] = byteArrayOf(-1, 10, -2, 10, -3, 10) }
        refused("has 4 labels for 3 classes") { content["labels.txt"] = "a\nb\nc\nd\n".toByteArray() }
    }

    @Test
    fun aFolderGivesNothingOutsideOfIt() {
        val folder = temporary.newFolder("bundle")
        MadeBundle().write(folder)
        assertEquals(3, Bundle.open(Folder(folder), "onnx").labels.size)
        val secret = temporary.newFile("secret").apply { writeText("cat\ndog\nhorse\n") }
        File(folder, "labels.txt").delete()
        Paths.createSymbolicLink(File(folder, "labels.txt").toPath(), secret.toPath())
        assertThrows(Refused::class.java) { Bundle.open(Folder(folder), "onnx") }
    }

    @Test
    fun aStripIsNotResized() {
        val strip = Pixels(1, 200_000, IntArray(200_000))
        val preprocess = MadeBundle().apply { manifest.put("preprocess.resize", "[256, 256]") }.open().manifest.preprocess
        val tall = { resize(strip, Size(51_200_000, 256), Filter.BICUBIC) }
        for (tried in listOf(tall, { resizeAndCrop(strip, preprocess) })) {
            assertTrue("strip" in assertThrows(Refused::class.java) { tried() }.message!!)
        }
    }
}
