package edgevit.core

import com.google.gson.JsonArray
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.io.File
import java.io.InputStream

/** A small bundle in memory: 3 classes, 4 x 4 pixels, two golden examples. Each test spoils one thing in it. */
class MadeBundle : Files {
    val content = linkedMapOf(
        "model.onnx" to byteArrayOf(1, 2, 3),
        "labels.txt" to "cat\ndog\nhorse\n".toByteArray(),
        "golden/input.f32" to Vectors.bytes(FloatArray(96) { it / 96f }),
        "golden/output.f32" to Vectors.bytes(floatArrayOf(1f, 2f, 3f, -4f, 5f, -6f)),
    )
    val manifest: JsonObject = JsonParser.parseString(MANIFEST).asJsonObject
    private var recorded = false

    /** Records the files as they are now; an attacker could do that too. */
    fun record() {
        recorded = true
        manifest.add("files", JsonArray().apply {
            content.forEach { (path, bytes) ->
                add(JsonObject().apply {
                    addProperty("path", path)
                    addProperty("sha256", sha256(bytes))
                    addProperty("bytes", bytes.size)
                })
            }
        })
    }

    /** As for a model that takes bytes. */
    fun takeBytes() {
        content.remove("golden/input.f32")
        content["golden/input.u8"] = ByteArray(96) { (it + 33).toByte() }
        manifest.put("golden.input.path", "\"golden/input.u8\"")
        manifest.put("inputs.0.dtype", "\"uint8\"")
        manifest.put("conversion.takes", "\"uint8\"")
    }

    /** As the first versions wrote a manifest. */
    fun asSchemaOne() {
        record()
        for ((path, json) in listOf(
            "schema_version" to "1", "input_form" to "\"image\"", "output_form" to "\"probabilities\"", "conversion" to "null",
            "golden" to """{"input_path": "golden/input.f32", "input_shape": [2, 3, 4, 4],
                "output_path": "golden/output.f32", "output_shape": [2, 3]}""",
            "parity.diffs" to """[{"image_size": [4, 4], "max_abs": 0.001, "tolerance": {"atol": 0.01}}]""",
        )) manifest.put(path, json)
    }

    override fun open(path: String): InputStream {
        if (path == "manifest.json") return manifest.toString().toByteArray().inputStream()
        return content[path]?.inputStream() ?: throw java.io.FileNotFoundException(path)
    }

    fun open(): Bundle {
        if (!recorded) record()
        return Bundle.open(this, "onnx")
    }

    /** Writes the bundle into a folder. */
    fun write(folder: File) {
        record()
        for ((path, bytes) in content + ("manifest.json" to manifest.toString().toByteArray())) {
            File(folder, path).apply { parentFile.mkdirs() }.writeBytes(bytes)
        }
    }

    companion object {
        const val MANIFEST = """{
            "schema_version": 2, "target": "onnx", "precision": "fp32", "path": "model.onnx",
            "model": {"image_size": [4, 4]},
            "inputs": [{"name": "input", "shape": [1, 3, 4, 4], "dtype": "float32"}],
            "outputs": [{"name": "logits", "shape": [1, 3], "dtype": "float32"}],
            "preprocess": {"resize": [5, 5], "crop": [4, 4], "fit": "cover", "interpolation": "bicubic", "color_order": "RGB",
                "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1.0], "value_range": [0.0, 1.0]},
            "labels": {"path": "labels.txt", "count": 3, "placeholders": false},
            "golden": {"input": {"name": "input", "path": "golden/input.f32", "shape": [2, 3, 4, 4]},
                "outputs": [{"name": "logits", "path": "golden/output.f32", "shape": [2, 3]}], "probes": ["natural", "noise"]},
            "conversion": {"takes": "tensor", "returns": "logits"},
            "parity": {"status": "passed", "diffs": [
                {"output": "logits", "image_size": [8, 8], "max_abs": 0.5, "tolerance": {"atol": 1.0}},
                {"output": "logits", "image_size": [4, 4], "max_abs": 0.0001,
                 "tolerance": {"atol": 0.0005, "measure": "largest"}},
                {"output": "logits", "image_size": [4, 4], "max_abs": 0.001, "tolerance": {"atol": 0.5, "measure": "largest"}}]},
            "decisions": null}"""
    }
}

/** The value at a path such as `golden.outputs.0.shape`, replaced by another, which is given as JSON. */
fun JsonObject.put(path: String, json: String) {
    val parts = path.split('.')
    var place: com.google.gson.JsonElement = this
    for (part in parts.dropLast(1)) place = if (place.isJsonArray) place.asJsonArray[part.toInt()] else place.asJsonObject[part]
    val value = JsonParser.parseString(json)
    if (place.isJsonArray) place.asJsonArray.set(parts.last().toInt(), value) else place.asJsonObject.add(parts.last(), value)
}
