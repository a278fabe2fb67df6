/// A runtime with a model in it. It is used by one thread at a time.
public protocol Model: AnyObject {
    /// The runtime's name, for people.
    var name: String { get }

    /// Runs one input of `Manifest.inputShape`; returns a value for each class.
    func run(_ input: [Float]) throws -> [Float]
}

extension Model {
    /// Runs one input; refuses outputs that are not finite, or of another number than the manifest says.
    public func checked(_ input: [Float], _ manifest: Manifest) throws -> [Float] {
        let outputs = try run(input)
        if outputs.count != manifest.classes {
            let counts = "\(outputs.count) values for \(manifest.classes) classes"
            throw Refused("the model returns \(counts): it is another one; convert again")
        }
        if !outputs.allSatisfy(\.isFinite) {
            throw Refused("the model returns values that are not finite; replay the golden data")
        }
        return outputs
    }
}
