package edgevit.core

const val MAX_SIDE = 8192
const val MAX_CLASSES = 1_000_000L
const val MAX_VALUES = 1L shl 31
private const val MAX_FILE_BYTES = 1L shl 34
private const val MAX_GOLDEN = 64L
private const val MAX_PICTURES = 1L shl 40

/** Height and width in pixels. */
data class Size(val height: Int, val width: Int)

/** How a picture becomes the network's input. */
class Preprocess(
    val resize: Size,
    val crop: Size,
    val stretch: Boolean,
    val filter: Filter,
    val mean: DoubleArray,
    val std: DoubleArray,
    val low: Double,
    val high: Double,
)

/** An array of the golden data: raw little-endian float32, or bytes, `count` examples of `each` values. */
class GoldenArray(val name: String, val file: Recorded, val count: Int, val each: Int)

/** A comparison that the bundle records: the bound on an output's error, and how large it was, in the measure of the bound. */
class Diff(val output: String, val size: Size, val atol: Double, val error: Double)

/** How often a quantised file names the first class of its network; `drawn` where there are more pictures than were tried. */
class Decisions(val pictures: Long, val agreeing: Long, val minAgreement: Double, val drawn: Boolean)

/** What a bundle says of itself, checked. */
class Manifest(
    val target: String,
    val precision: String,
    val path: String,
    val files: Map<String, Recorded>,
    val input: String,
    val output: String,
    val classes: Int,
    val preprocess: Preprocess,
    val takes: Takes,
    val returnsProbabilities: Boolean,
    val labels: Recorded,
    val goldenInput: GoldenArray,
    val goldenOutput: GoldenArray,
    val modelSize: Size,
    val status: String,
    val diffs: List<Diff>,
    val decisions: Decisions?,
) {
    /** The size of the pictures that the app gives the network; a free size is the one that the preprocessing crops to. */
    val size: Size get() = preprocess.crop

    /** The shape of one input. */
    val inputShape: LongArray get() = longArrayOf(1, 3, size.height.toLong(), size.width.toLong())

    /** Whether weights or activations have eight bits. */
    val quantised: Boolean get() = precision in QUANTISED

    /** The files of the model: one, or all those in its folder. */
    val model: List<Recorded> get() = files.values.filter { it.path == path || it.path.startsWith("$path/") }

    companion object {
        /** Reads a manifest, and refuses what no bundle says: see `Claims.kt`. */
        fun read(bytes: ByteArray): Manifest {
            val document = Json.of(bytes)
            val version = document["schema_version"]
            if (version.isNull) refuse("manifest.json is not the manifest of a bundle (no schema_version in it); convert again")
            return when (version.number()) {
                2.0 -> of(document)
                1.0 -> of(fromSchema1(document))
                else -> refuse(
                    "manifest.json has schema_version ${version.number().toString().removeSuffix(".0")}, " +
                        "and this app reads 1 and 2; write the app again with the edgevit-deploy that wrote the bundle",
                )
            }
        }

        private fun of(json: Json): Manifest {
            val files = files(json["files"])
            val (input, output) = only(json["inputs"], "input") to only(json["outputs"], "output")
            val classes = classes(output, json["labels"])
            val preprocess = preprocess(json["preprocess"])
            val conversion = json["conversion"]
            val takes = Takes.valueOf(conversion["takes"].oneOf("tensor", "image", "uint8").uppercase())
            val itemBytes = checkInput(input, preprocess.crop, takes)
            val golden = json["golden"]
            val (height, width) = preprocess.crop
            val goldenInput = goldenArray(golden["input"], files, listOf(3L, height.toLong(), width.toLong()), itemBytes)
            val goldenOutput = goldenArray(only(golden["outputs"], "output"), files, listOf(classes), 4)
            if (goldenInput.count != goldenOutput.count) golden.wrong("as many inputs as outputs")
            if (goldenOutput.name != output["name"].text()) golden.wrong("of the output ${shown(output["name"].text())}")
            val path = json["path"].text()
            checkModel(path, files)
            return Manifest(
                target = json["target"].text(),
                precision = json["precision"].oneOf(*PRECISIONS.toTypedArray()),
                path = path,
                files = files,
                input = input["name"].text(),
                output = output["name"].text(),
                classes = classes.toInt(),
                preprocess = preprocess,
                takes = takes,
                returnsProbabilities = conversion["returns"].oneOf("logits", "probabilities") == "probabilities",
                labels = recorded(json["labels"]["path"].text(), files),
                goldenInput = goldenInput,
                goldenOutput = goldenOutput,
                modelSize = size(json["model"]["image_size"]),
                status = shown(json["parity"]["status"].text()),
                diffs = json["parity"]["diffs"].list().map(::diff),
                decisions = json["decisions"].takeUnless { it.isNull }?.let(::decisions),
            )
        }

        private fun files(list: Json): Map<String, Recorded> {
            val files = LinkedHashMap<String, Recorded>()
            for (file in list.list()) {
                val path = inside(file["path"].text())
                val sha256 = file["sha256"].text()
                if (!sha256.matches(Regex("[0-9a-f]{64}"))) file["sha256"].wrong("a hash")
                val before = files.put(path, Recorded(path, sha256, file["bytes"].whole(0..MAX_FILE_BYTES)))
                if (before != null) file["path"].wrong("recorded once")
            }
            return files
        }

        private fun only(list: Json, what: String): Json = list.list().singleOrNull() ?: list.wrong("a list with one $what")

        private fun goldenArray(array: Json, files: Map<String, Recorded>, each: List<Long>, itemBytes: Int): GoldenArray {
            val shape = array["shape"].list().map { it.whole(1..MAX_VALUES) }
            val fits = shape.size > 1 && shape.drop(1) == each
            if (!fits) array["shape"].wrong("some examples of ${each.joinToString(" x ")} values")
            if (shape[0] > MAX_GOLDEN) array["shape"].wrong("at most $MAX_GOLDEN examples")
            val values = each.reduce(Long::times)
            if (values > MAX_VALUES / 4) array["shape"].wrong("of a size that an app can hold")
            val file = recorded(array["path"].text(), files)
            val bytes = itemBytes * values * shape[0]
            if (file.bytes != bytes) array["path"].wrong("a file of $bytes bytes, as its shape says")
            return GoldenArray(array["name"].text(), file, shape[0].toInt(), values.toInt())
        }

        private fun diff(diff: Json): Diff {
            val tolerance = diff["tolerance"]
            val rms = tolerance["measure"].let { !it.isNull && it.oneOf("largest", "rms") == "rms" }
            val error = if (rms) diff["rms"] else diff["max_abs"]
            return Diff(
                output = diff["output"].text(),
                size = size(diff["image_size"]),
                atol = tolerance["atol"].number(),
                error = if (error.isNull) Double.MAX_VALUE else error.number(),
            )
        }

        private fun decisions(decisions: Json): Decisions {
            val pictures = decisions["pictures"].whole(0..MAX_PICTURES)
            val least = decisions["min_agreement"].number()
            if (least <= 0 || least >= 1) decisions["min_agreement"].wrong("between 0 and 1")
            val broken = decisions["broken"].let { if (it.isNull) 0L else it.whole(0..MAX_PICTURES) }
            val tried = pictures + broken // what cannot be decoded was tried too
            val drawn = decisions["sample"].let { !it.isNull && it["of"].whole(tried..MAX_PICTURES) > tried }
            return Decisions(pictures, decisions["agreeing"].whole(0..pictures), least, drawn)
        }
    }
}
