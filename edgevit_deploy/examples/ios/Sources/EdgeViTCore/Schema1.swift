/// A manifest of schema 1 as one of schema 2; what it says is checked afterwards, as of any other.
func fromSchema1(_ old: Json) throws -> Json {
    guard case .object(var fields) = old.value else { throw old.wrong("an object") }
    let golden = try old["golden"]
    guard let input = try old["inputs"].list().first else { throw try old["inputs"].wrong("a list with the input") }
    guard let output = try old["outputs"].list().first else { throw try old["outputs"].wrong("a list with the output") }
    fields["conversion"] = .object(["takes": try old["input_form"].value, "returns": try old["output_form"].value])
    fields["golden"] = .object([
        "input": try array(input, golden, "input"),
        "outputs": .list([try array(output, golden, "output")]),
    ])
    fields["parity"] = named(fields["parity"] ?? .null, try output["name"].value)
    return Json(.object(fields))
}

/// What one array of the golden data is, which schema 1 spread over several fields.
private func array(_ tensor: Json, _ golden: Json, _ which: String) throws -> JsonValue {
    .object([
        "name": try tensor["name"].value,
        "path": try golden["\(which)_path"].value,
        "shape": try golden["\(which)_shape"].value,
    ])
}

/// Names the output in each comparison: there was only one.
private func named(_ parity: JsonValue, _ output: JsonValue) -> JsonValue {
    guard case .object(var fields) = parity, case .list(let diffs) = fields["diffs"] ?? .null else { return parity }
    fields["diffs"] = .list(diffs.map { diff in
        guard case .object(var values) = diff else { return diff }
        values["output"] = output
        return .object(values)
    })
    return .object(fields)
}
